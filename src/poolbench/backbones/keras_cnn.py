"""The convolutional network of the TensorFlow/Keras image tutorial."""

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.map_size import map_size


class KerasCNN(nn.Module):
    """conv3x3-32, max, conv3x3-64, max, conv3x3-64, flatten, 64, classes, with ReLU between and no padding.

    Args:
        last_convolution: whether the third convolution is there; the network is also known without.

    122,570 parameters for 3x32x32 images of 10 classes, as the tutorial's `model.summary()` prints; 167,562 without
    the third convolution. Serves images of at least 18x18 (10x10 without).

    Source: tensorflow.org/tutorials/images/cnn. Weights start by torch's defaults, not by Keras's.
    """

    def __init__(
        self, in_channels: int, num_classes: int, image_size: tuple[int, int], last_convolution: bool = True
    ) -> None:
        super().__init__()
        steps = [("conv1", 3, 1, 0), ("pool1", 2, 2, 0), ("conv2", 3, 1, 0), ("pool2", 2, 2, 0)]
        height, width = map_size("keras_cnn", image_size, steps + [("conv3", 3, 1, 0)] * last_convolution)
        self.conv1 = nn.Conv2d(in_channels, 32, kernel_size=3)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(64, 64, kernel_size=3) if last_convolution else None
        self.head: nn.Module = nn.Flatten()
        self.classifier: nn.Module = nn.Sequential(
            nn.Linear(64 * height * width, 64), nn.ReLU(), nn.Linear(64, num_classes)
        )
        self.anatomy = Anatomy(sites=("pool1", "pool2"), head="head", classifier="classifier")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, C, H, W)."""
        x_BCHW = self.pool1(torch.relu(self.conv1(x_BCHW)))
        x_BCHW = self.pool2(torch.relu(self.conv2(x_BCHW)))
        if self.conv3 is not None:
            x_BCHW = torch.relu(self.conv3(x_BCHW))
        return self.classifier(self.head(x_BCHW))
