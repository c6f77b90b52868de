"""A small network that steers by a camera's frame."""

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.map_size import map_size


class LineCNN(nn.Module):
    """conv5x5, pool, conv3x3, pool, conv3x3 without padding, flatten, 32, numbers, with ReLU between.

    Of frames of 32x32 the maps are 32, 16, 16, 8 and 6: the last one is 6x6, so small that a network of this kind runs
    on a microcontroller, and yet says where the line lies.

    Args:
        in_channels: channels of a frame.
        num_classes: numbers that are steered by.
        image_size: height and width of a frame.
        width: channels of the first convolution; the others have twice as many.

    Raises:
        UnsupportedError: frames are too small, or no frames.
    """

    def __init__(self, in_channels: int, num_classes: int, image_size: tuple[int, int], width: int = 8) -> None:
        super().__init__()
        steps = [("pool1", 2, 2, 0), ("pool2", 2, 2, 0), ("conv3", 3, 1, 0)]
        height, width_left = map_size("line_cnn", image_size, steps)
        self.conv1 = nn.Conv2d(in_channels, width, 5, padding=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3)
        self.head: nn.Module = nn.Flatten()
        self.classifier: nn.Module = nn.Sequential(
            nn.Linear(2 * width * height * width_left, 32), nn.ReLU(), nn.Linear(32, num_classes)
        )
        self.anatomy = Anatomy(sites=("pool1", "pool2"), head="head", classifier="classifier")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the numbers (B, num_classes) of frames (B, C, H, W)."""
        x_BCHW = self.pool1(torch.relu(self.conv1(x_BCHW)))
        x_BCHW = self.pool2(torch.relu(self.conv2(x_BCHW)))
        return self.classifier(self.head(torch.relu(self.conv3(x_BCHW))))
