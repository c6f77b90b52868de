"""A network of the kind that tutorials show: it flattens its map by `view`."""

import torch.nn.functional as F
from torch import Tensor, nn


class Viewing(nn.Module):
    """A convolution, a max pooling and a classifier, for images of 16x16."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv, self.pool, self.fc = (
            nn.Conv2d(in_channels, 4, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Linear(256, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv(x)))
        return self.fc(x.view(-1, 256))
