"""The residual networks for small images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.subsample import Subsample2d


class Shortcut(nn.Module):
    """The shortcut without parameters (option A): subsample, and append channels of zeros."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        self.subsample: nn.Module = Subsample2d(stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Take (B, C, H, W) to the shape of the block's output."""
        x_BCHW = self.subsample(x_BCHW)
        extra = self.channels - self.in_channels
        return F.pad(x_BCHW, (0, 0, 0, 0, extra // 2, extra - extra // 2))

    def widen(self, scale: Callable[[int], int]) -> None:
        """Follow a network's change of width."""
        self.in_channels, self.channels = scale(self.in_channels), scale(self.channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, and a shortcut around them."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if stride == 1 else Shortcut(in_channels, channels, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Apply the block."""
        y_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.bn2(self.conv2(y_BCHW))
        return torch.relu(y_BCHW + self.shortcut(x_BCHW))


class CifarResNet(nn.Module):
    """A 3x3 convolution and three stages of residual blocks with 1, 2 and 4 times the width, the mean, a classifier.

    Resolution is halved at the start of the second and the third stage, by a strided convolution and, on the
    shortcut, by subsampling. 269,722 parameters for 3x32x32 images of 10 classes at depth 20. Serves any size.

    Args:
        depth: number of layers with weights, 6n + 2.
        width: channels of the first stage.

    Source: He et al., Deep Residual Learning for Image Recognition (2016), section 4.2, shortcuts of option A.
    """

    def __init__(self, in_channels: int, num_classes: int, depth: int = 20, width: int = 16) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        if depth < 8 or depth != 6 * blocks + 2:
            raise ValueError(f"`depth` must be 6n + 2 (8, 14, 20, 32, 44, 56, …), got {depth}")
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(blocks, width, width, stride=1)
        self.layer2 = _stage(blocks, width, 2 * width, stride=2)
        self.layer3 = _stage(blocks, 2 * width, 4 * width, stride=2)
        self.head: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier: nn.Module = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        sites = [f"layer{i}.0.{part}" for i in (2, 3) for part in ("conv1", "shortcut.subsample")]
        self.anatomy = Anatomy(sites=tuple(sites), head="head", classifier="classifier")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, C, H, W)."""
        x_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        x_BCHW = self.layer3(self.layer2(self.layer1(x_BCHW)))
        return self.classifier(self.head(x_BCHW))


def _stage(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, stride=1) for _ in range(blocks - 1)))
