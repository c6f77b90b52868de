"""A network for heartbeats and other series."""

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.motif_cnn import one_dimension
from poolbench.checks import whole_number
from poolbench.errors import UnsupportedError


class EcgCNN(nn.Module):
    """Stages of conv-5, batch norm, ReLU and max-3 at stride 2, then the mean over all places and a linear layer.

    Each stage doubles how far the next one sees: the last map sees 1 + 6·(2ⁿ − 1) places with n stages (7, 19, 43, 91,
    187, 379 for 1 to 6). Its mean does not know of places, so the network cannot see distances longer than that.

    Args:
        in_channels: channels of a series.
        num_classes: number of classes.
        image_size: (length,) of a series.
        stages: convolutions, each with a pooling.
        width: channels of every convolution.

    Raises:
        ConfigurationError: `stages` or `width` is no whole number of at least 1.
        UnsupportedError: the series is shorter than what the last map sees.
    """

    def __init__(
        self, in_channels: int, num_classes: int, image_size: tuple[int], stages: int = 5, width: int = 32
    ) -> None:
        super().__init__()
        (length,) = one_dimension("ecg_cnn", image_size)
        whole_number("backbone.stages", stages)
        whole_number("backbone.width", width)
        seen = receptive_field(stages)
        if length < seen:
            most = max((n for n in range(1, stages) if receptive_field(n) <= length), default=0)
            raise UnsupportedError(
                f"ecg_cnn with {stages} stages cannot take series of {length} places: its last map sees {seen}; "
                + (f"set backbone.stages to {most} or less" if most else "series must have at least 7 places")
            )
        self.stages = nn.ModuleList()
        for stage in range(stages):
            self.stages.append(
                nn.ModuleDict(
                    {
                        "conv": nn.Conv1d(width if stage else in_channels, width, 5, padding=2, bias=False),
                        "norm": nn.BatchNorm1d(width),
                        "pool": nn.MaxPool1d(3, stride=2, padding=1),
                    }
                )
            )
        self.head: nn.Module = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.classifier: nn.Module = nn.Linear(width, num_classes)
        self.anatomy = Anatomy(
            sites=tuple(f"stages.{stage}.pool" for stage in range(stages)), head="head", classifier="classifier"
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of series (B, C, L)."""
        for stage in self.stages:
            x_BCL = stage["pool"](torch.relu(stage["norm"](stage["conv"](x_BCL))))  # type: ignore[index]
        return self.classifier(self.head(x_BCL))


def receptive_field(stages: int) -> int:
    """Return how many places a value of the last map sees.

    >>> receptive_field(1), receptive_field(2)  # 5 and 3 in steps of 1; then 4 and 2 more in steps of 2
    (7, 19)
    """
    return 1 + 6 * (2**stages - 1)
