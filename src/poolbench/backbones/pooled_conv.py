"""A strided convolution as a site: the convolution at stride 1, then the operator."""

from torch import Tensor, nn


class PooledConv2d(nn.Conv2d):
    """A convolution at stride 1 followed by `pool`, with weight and bias under the names they had.

    Args:
        conv: the strided convolution; its weight and bias are taken over as they are.
        pool: the operator that reduces in the stride's place.
    """

    def __init__(self, conv: nn.Conv2d, pool: nn.Module) -> None:
        # On the meta device nothing is drawn and nothing allocated for the tensors that `conv` brings.
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            (conv.kernel_size[0], conv.kernel_size[1]),
            stride=1,
            padding=conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1]),
            dilation=(conv.dilation[0], conv.dilation[1]),
            groups=conv.groups,
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.pool = pool

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and pool (B, C, H, W) → (B, C', H', W'), the shape of the strided convolution."""
        return self.pool(super().forward(x_BCHW))
