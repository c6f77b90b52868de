"""A network for spectrograms, whose poolings reduce frequency and time apart."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.checks import is_whole
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.pooling import output_size


class AudioCNN(nn.Module):
    """Stages of conv3x3, batch norm, ReLU and a max pooling as large as its stride, then flatten and a linear layer.

    Args:
        in_channels: channels of a spectrogram.
        num_classes: number of classes.
        image_size: (frequencies, frames) of a spectrogram.
        strides: of each stage's pooling, [frequency, time]; a stage with [1, 1] has none.
        width: channels of the first convolution; each further one has twice as many, up to four times.

    Raises:
        ConfigurationError: `strides` is no list of pairs of whole numbers of at least 1.
        UnsupportedError: examples are no spectrograms, or are used up before the last stage.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int, int],
        strides: Sequence[Sequence[int]] = ((2, 2), (2, 2), (2, 2)),
        width: int = 16,
    ) -> None:
        super().__init__()
        if not _are_pairs(strides):
            raise ConfigurationError(
                "`backbone.strides` must be a list of one pair [frequency, time] for each stage, whole numbers of at "
                f"least 1, got {strides!r}"
            )
        if len(image_size) != 2:
            raise UnsupportedError(f"audio_cnn takes spectrograms (C, H, W), got sequences of length {image_size[0]}")
        sizes = image_size
        for stage, stride in enumerate(strides):
            if any(size < step for size, step in zip(sizes, stride, strict=True)):
                raise UnsupportedError(
                    f"audio_cnn cannot take spectrograms of {image_size[0]} frequencies, {image_size[1]} frames: at "
                    f"stage {stage + 1} the map is {sizes[0]}x{sizes[1]}, and the pooling {stride[0]}x{stride[1]}; "
                    "lower backbone.strides"
                )
            sizes = (output_size(sizes[0], stride[0], stride[0], 0), output_size(sizes[1], stride[1], stride[1], 0))
        self.stages = nn.ModuleList()
        channels, sites = in_channels, []
        for stage, stride in enumerate(strides):
            out = width * min(4, 2**stage)
            pooled = tuple(stride) != (1, 1)
            self.stages.append(
                nn.ModuleDict(
                    {
                        "conv": nn.Conv2d(channels, out, 3, padding=1, bias=False),
                        "norm": nn.BatchNorm2d(out),
                        "pool": nn.MaxPool2d((stride[0], stride[1])) if pooled else nn.Identity(),
                    }
                )
            )
            sites += [f"stages.{stage}.pool"] * pooled
            channels = out
        self.head: nn.Module = nn.Flatten()
        self.classifier: nn.Module = nn.Linear(channels * math.prod(sizes), num_classes)
        self.anatomy = Anatomy(sites=tuple(sites), head="head", classifier="classifier")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of spectrograms (B, C, frequencies, frames)."""
        for stage in self.stages:
            x_BCHW = stage["pool"](torch.relu(stage["norm"](stage["conv"](x_BCHW))))  # type: ignore[index]
        return self.classifier(self.head(x_BCHW))


def _are_pairs(strides: object) -> bool:
    return (
        isinstance(strides, Sequence)
        and bool(strides)
        and all(
            isinstance(pair, Sequence) and len(pair) == 2 and all(is_whole(step) and step >= 1 for step in pair)
            for pair in strides
        )
    )
