"""The convolutional network of the course slides."""

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.map_size import map_size


class Slides(nn.Module):
    """conv5x5-16, max, conv5x5-32, max, flatten, 120, 84, classes, with ReLU between.

    270,942 parameters for 3x32x32 images of 10 classes; 32,862 with mean and maximum of the whole map as head.
    Serves images of at least 4x4.
    """

    def __init__(self, in_channels: int, num_classes: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        height, width = map_size("slides", image_size, [("pool1", 2, 2, 0), ("pool2", 2, 2, 0)])
        self.conv1 = nn.Conv2d(in_channels, 16, kernel_size=5, padding=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=5, padding=2)
        self.pool2 = nn.MaxPool2d(2)
        self.head: nn.Module = nn.Flatten()
        self.classifier: nn.Module = nn.Sequential(
            nn.Linear(32 * height * width, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )
        self.anatomy = Anatomy(sites=("pool1", "pool2"), head="head", classifier="classifier")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, C, H, W)."""
        x_BCHW = self.pool1(torch.relu(self.conv1(x_BCHW)))
        x_BCHW = self.pool2(torch.relu(self.conv2(x_BCHW)))
        return self.classifier(self.head(x_BCHW))
