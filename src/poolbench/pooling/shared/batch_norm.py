"""Batch normalisation inside an operator: torch's, for every batch and under every transform."""

import torch
from torch import Tensor, nn

from poolbench.kernels.precision import upcast
from poolbench.kernels.transforms import is_transformed


class BatchNorm(nn.BatchNorm2d):
    """Mean 0 and variance 1 of each channel over the batch, scaled and shifted; in evaluation by running statistics.

    As `nn.BatchNorm2d`, with these differences: the result is in at least float32. A batch without values is taken,
    and one with a single value of each channel, which gives the shift; neither changes the running statistics. Nor does
    a pass within a transform of `torch.func`, or the repetition of a pass by `torch.utils.checkpoint`, which counts
    once.

    Shapes: (B, C, H, W) → (B, C, H, W).

    >>> norm = BatchNorm(1)
    >>> norm(torch.tensor([[[[1.0, 3.0]]]])).round(decimals=4).tolist(), norm.running_mean.tolist()
    ([[[[-1.0, 1.0]]]], [0.20000000298023224])
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise."""
        x = upcast(x_BCHW)
        bias_C11 = self.bias.to(x.dtype).view(-1, 1, 1)
        if not self.training or x.numel() == 0:
            scale_C11 = self._scale(self.running_var.to(x.dtype))
            shift_C11 = bias_C11 - self.running_mean.to(x.dtype).view(-1, 1, 1) * scale_C11
            return torch.addcmul(shift_C11, x, scale_C11)
        mean_C = x.mean((0, 2, 3))
        apart = x - mean_C.view(-1, 1, 1)
        variance_C = apart.square().mean((0, 2, 3))
        self._keep(mean_C.detach(), variance_C.detach(), x.numel() // x.shape[1])
        return torch.addcmul(bias_C11, apart, self._scale(variance_C))

    def _scale(self, variance_C: Tensor) -> Tensor:
        return (self.weight.to(variance_C.dtype) * (variance_C + self.eps).rsqrt()).view(-1, 1, 1)

    def _keep(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        """Bring the running statistics nearer to those of a batch of `count` values of each channel."""
        if count < 2 or is_transformed(mean_C):
            return
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:  # a repetition
            return
        with torch.no_grad():
            # Without one, as in `nn.BatchNorm2d`, the mean over all batches.
            share = self.momentum if self.momentum is not None else 1 / (self.num_batches_tracked.float() + 1)
            unbiased_C = variance_C * (count / (count - 1))
            self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), share)
            self.running_var.lerp_(unbiased_C.to(self.running_var.dtype), share)
            self.num_batches_tracked.add_(1)
