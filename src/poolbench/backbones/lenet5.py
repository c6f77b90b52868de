"""LeNet-5 in its present-day form."""

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.map_size import map_size


class LeNet5(nn.Module):
    """conv5x5-6, pool, conv5x5-16, pool, conv5x5-120, flatten, 84, classes, with tanh between.

    Args:
        padding: of the convolutions. 0 is LeCun's geometry: 61,706 parameters for 1x32x32 images of 10 classes,
            images of at least 32x32. 2 keeps the map's size, as comparisons of Avg-TopK and T-Max-Avg pooling do,
            and serves images of at least 4x4.

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998), section II.B. Deviations, as
    is customary: max pooling without a learned scale, all maps connected, a linear last layer with cross-entropy.
    """

    def __init__(self, in_channels: int, num_classes: int, image_size: tuple[int, int], padding: int = 0) -> None:
        super().__init__()
        steps = [
            ("conv1", 5, 1, padding),
            ("pool1", 2, 2, 0),
            ("conv2", 5, 1, padding),
            ("pool2", 2, 2, 0),
            ("conv3", 5, 1, padding),
        ]
        height, width = map_size("lenet5", image_size, steps)
        self.conv1 = nn.Conv2d(in_channels, 6, kernel_size=5, padding=padding)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5, padding=padding)
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(16, 120, kernel_size=5, padding=padding)
        self.head: nn.Module = nn.Flatten()
        self.classifier: nn.Module = nn.Sequential(
            nn.Linear(120 * height * width, 84), nn.Tanh(), nn.Linear(84, num_classes)
        )
        self.anatomy = Anatomy(sites=("pool1", "pool2"), head="head", classifier="classifier")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, C, H, W)."""
        x_BCHW = self.pool1(torch.tanh(self.conv1(x_BCHW)))
        x_BCHW = self.pool2(torch.tanh(self.conv2(x_BCHW)))
        return self.classifier(self.head(torch.tanh(self.conv3(x_BCHW))))
