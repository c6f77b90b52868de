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
        frequency_strides: by how much each stage's pooling reduces frequency.
        time_strides: likewise time. A stage with 1 in both has no pooling.
        width: channels of the first convolution; each further one has twice as many, up to four times.

    Raises:
        ConfigurationError: strides are not whole numbers of at least 1, or not equally many.
        UnsupportedError: examples are no spectrograms, or are used up before the last stage.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int, int],
        frequency_strides: Sequence[int] = (2, 2, 2),
        time_strides: Sequence[int] = (2, 2, 2),
        width: int = 16,
    ) -> None:
        super().__init__()
        for name, strides in (("frequency_strides", frequency_strides), ("time_strides", time_strides)):
            if not strides or not all(is_whole(stride) and stride >= 1 for stride in strides):
                raise ConfigurationError(
                    f"`backbone.{name}` must be a list of whole numbers of at least 1, one a stage, got {strides!r}"
                )
        if len(frequency_strides) != len(time_strides):
            raise ConfigurationError(
                f"`backbone.time_strides` must have one number for each of the {len(frequency_strides)} of "
                f"`backbone.frequency_strides`, got {list(time_strides)!r}"
            )
        if len(image_size) != 2:
            raise UnsupportedError(f"audio_cnn takes spectrograms (C, H, W), got sequences of length {image_size[0]}")
        sizes = image_size
        for stage, stride in enumerate(zip(frequency_strides, time_strides, strict=True)):
            if any(size < step for size, step in zip(sizes, stride, strict=True)):
                raise UnsupportedError(
                    f"audio_cnn cannot serve spectrograms of {image_size[0]} frequencies, {image_size[1]} frames: at "
                    f"stage {stage + 1} the map is {sizes[0]}x{sizes[1]}, and the pooling {stride[0]}x{stride[1]}; "
                    "lower backbone.frequency_strides or backbone.time_strides"
                )
            sizes = (output_size(sizes[0], stride[0], stride[0], 0), output_size(sizes[1], stride[1], stride[1], 0))
        self.stages = nn.ModuleList()
        channels, sites = in_channels, []
        for stage, stride in enumerate(zip(frequency_strides, time_strides, strict=True)):
            out = width * min(4, 2**stage)
            pooled = stride != (1, 1)
            self.stages.append(
                nn.ModuleDict(
                    {
                        "conv": nn.Conv2d(channels, out, 3, padding=1, bias=False),
                        "norm": nn.BatchNorm2d(out),
                        "pool": nn.MaxPool2d(stride) if pooled else nn.Identity(),
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
