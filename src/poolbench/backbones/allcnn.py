"""Model C of the all-convolutional net."""

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.map_size import map_size


class AllCNN(nn.Module):
    """Two 3x3 convolutions, max, two 3x3, max, a 3x3 without padding, 1x1, 1x1 to one map a class, mean, with ReLU.

    With a strided convolution in place of each max it is All-CNN-C, with 1,369,738 parameters for 3x32x32 images of
    10 classes. The class maps are pooled straight to the logits; a head that gives more features than there are classes
    gets a linear classifier behind it. Serves images of at least 9x9.

    Args:
        width: channels of the first stage; the later ones have twice as many.
        dropout_input: probability of dropping a pixel's channel at the input.
        dropout: probability of dropping a value after each pooling.

    Source: Springenberg et al., Striving for Simplicity: The All Convolutional Net (2015), tables 1 and 2 and
    section 3.1. Weights start by He's rule and zero biases; the source does not say how.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int, int],
        width: int = 96,
        dropout_input: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        map_size("allcnn", image_size, [("pool1", 3, 2, 1), ("pool2", 3, 2, 1), ("conv5", 3, 1, 0)])
        self.dropout_input = nn.Dropout(dropout_input)
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.dropout1 = nn.Dropout(dropout)
        self.conv3 = nn.Conv2d(width, 2 * width, kernel_size=3, padding=1)
        self.conv4 = nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1)
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.dropout2 = nn.Dropout(dropout)
        self.conv5 = nn.Conv2d(2 * width, 2 * width, kernel_size=3)
        self.conv6 = nn.Conv2d(2 * width, 2 * width, kernel_size=1)
        self.conv7 = nn.Conv2d(2 * width, num_classes, kernel_size=1)
        self.head: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        self.anatomy = Anatomy(sites=("pool1", "pool2"), head="head", classifier=None)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, C, H, W)."""
        x_BCHW = self.dropout_input(x_BCHW)
        x_BCHW = torch.relu(self.conv2(torch.relu(self.conv1(x_BCHW))))
        x_BCHW = self.dropout1(self.pool1(x_BCHW))
        x_BCHW = torch.relu(self.conv4(torch.relu(self.conv3(x_BCHW))))
        x_BCHW = self.dropout2(self.pool2(x_BCHW))
        x_BCHW = torch.relu(self.conv6(torch.relu(self.conv5(x_BCHW))))
        return self.head(torch.relu(self.conv7(x_BCHW)))
