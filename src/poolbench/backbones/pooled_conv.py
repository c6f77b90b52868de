"""A strided convolution as a site: the convolution at stride 1, then the operator."""

from torch import Tensor, nn


class PooledConv2d(nn.Conv2d):
    """A convolution at stride 1 followed by `pool`, with weight and bias under the names they had."""

    def __init__(self, conv: nn.Conv2d, pool: nn.Module) -> None:
        nn.Module.__init__(self)
        # The convolution's own settings and tensors, with the stride taken over by the pooling: building a new one
        # would draw weights only to throw them away.
        for name, value in vars(conv).items():
            if not name.startswith("_") or name == "_reversed_padding_repeated_twice":
                self.__dict__[name] = value
        self._parameters = dict(conv._parameters)
        self.stride = (1, 1)
        self.pool = pool

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and pool (B, C, H, W) → (B, C', H', W'), the shape of the strided convolution."""
        return self.pool(super().forward(x_BCHW))
