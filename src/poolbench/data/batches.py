"""Batches on the device, for Lightning or a bare loop: order, augmentation and normalisation in one place."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from poolbench.checks import whole_number
from poolbench.data.augment import Augment, Draws
from poolbench.data.images import ImageSource
from poolbench.errors import ConfigurationError
from poolbench.streams import stream

MoveTargets = Callable[[Tensor, Augment, Draws], Tensor]


class Batches:
    """An iterable over batches (examples, targets), on the device: examples (B, C, H, W) or (B, C, L), normalised.

    `(x − 255·mean) / (255·std)` of uint8 levels x, `(x − mean) / std` of numbers of floating point. Targets are what
    the source has for labels: classes, int64 (B,), or what another task has. With `shuffle` an epoch has its own order
    and augmentation, drawn from the streams `order` and `augment` of `seed` and the epoch, whatever was drawn before.

    Args:
        source: where the examples come from.
        indices: which of them, int64 (N,).
        batch_size: examples a batch.
        seed: the cell's seed.
        augment: how training examples vary (`poolbench.data.Augment` or its arguments); None for not at all.
        shuffle: draw a new order in each epoch; without it `indices` keep theirs.
        drop_last: leave out what does not fill a batch; None: where `shuffle` is set. Where it is kept in shuffled
            batches and is one example, that joins the batch before: batch norm cannot train on one.
        device: where batches are wanted. Examples in memory move there whole where they fit.
        mean: of each channel, as a fraction of 255 where they are uint8.
        std: likewise.
        memory_format: `torch.channels_last` or `torch.contiguous_format`; of images: sequences are contiguous.
        dtype: of the examples.
        move_targets: takes targets along where the augmentation moves examples, `(targets, augment, draws) → targets`;
            None: they stay as they are.

    Raises:
        ConfigurationError: `batch_size` exceeds the training examples, an argument is out of range, no index is given.

    >>> from poolbench.data import open_dataset
    >>> images = open_dataset({"_target_": "poolbench.data.digits.Digits", "val_fraction": 0.1}).load()
    >>> batches = Batches(images.test, torch.arange(597), 512, seed=0, mean=images.mean, std=images.std)
    >>> [tuple(x.shape) for x, y in batches]
    [(512, 1, 16, 16), (85, 1, 16, 16)]
    """

    def __init__(
        self,
        source: ImageSource,
        indices: Tensor,
        batch_size: int,
        *,
        seed: int,
        augment: Augment | Mapping[str, Any] | None = None,
        shuffle: bool = False,
        drop_last: bool | None = None,
        device: torch.device | str = "cpu",
        mean: Sequence[float],
        std: Sequence[float],
        memory_format: torch.memory_format = torch.channels_last,
        dtype: torch.dtype = torch.float32,
        move_targets: MoveTargets | None = None,
    ) -> None:
        channels, *sizes = source.shape
        whole_number("batch_size", batch_size)
        if len(indices) == 0:
            raise ConfigurationError("`indices` must name at least one image (or other example), got none")
        if shuffle and batch_size > len(indices):
            raise ConfigurationError(
                f"`protocol.batch_size` must be at most {len(indices)}, the number of examples to train on, "
                f"got {batch_size}"
            )
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != channels:
                raise ConfigurationError(f"`{name}` must have {channels} values, one a channel, got {tuple(values)}")
        self.source = source.on(torch.device(device))
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.augment = Augment.of(augment, sizes)
        self.shuffle = shuffle
        self.drop_last = shuffle if drop_last is None else drop_last
        self.device = torch.device(device)
        self.memory_format = memory_format if len(sizes) == 2 else torch.contiguous_format
        self.move_targets = move_targets
        self.dtype = dtype
        self.epoch = 0
        self._sizes = self._batch_sizes()
        self._mean, self._std = tuple(mean), tuple(std)
        self._factors: dict[bool, tuple[Tensor, Tensor]] = {}

    @property
    def images(self) -> int:
        """Number of examples that batches are made from."""
        return len(self.indices)

    def __len__(self) -> int:
        return len(self._sizes)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and augmentation the next pass draws."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order, draws = self._draw()
        parts = list(order[: sum(self._sizes)].split(self._sizes))
        labels = self._targets(order)
        away = self.device.type != "cpu"
        begin = 0
        for raw in self.source.batches(parts, pin_memory=away):
            part = slice(begin, begin + len(raw))
            begin = part.stop
            examples = raw.to(self.device, non_blocking=True)
            drawn, targets = draws[part], labels(part)
            if self.shuffle and self.move_targets is not None:
                targets = self.move_targets(targets, self.augment, drawn)
            yield self._finish(examples, drawn), targets

    def _targets(self, order: Tensor) -> Callable[[slice], Tensor]:
        """Return what gives the targets of a part of `order`, on the device.

        Classes are moved there at once; what has more dimensions would take the room of a whole data set.
        """
        labels = self.source.labels
        if labels.ndim == 1:
            moved = labels[order].to(self.device)
            return lambda part: moved[part]
        return lambda part: labels[order[part]].to(self.device, non_blocking=True)

    def _draw(self) -> tuple[Tensor, Draws]:
        if not self.shuffle:
            return self.indices, Draws()
        order = torch.randperm(len(self.indices), generator=stream(self.seed, "order", self.epoch))
        draws = self.augment.draw(len(order), self.source.shape[1:], seed=self.seed, epoch=self.epoch)
        return self.indices[order], draws.to(self.device)

    def _finish(self, examples: Tensor, draws: Draws) -> Tensor:
        moved = self.augment.move(examples, draws).movedim(1, -1)
        *outer, size, channels = moved.shape
        rows = moved.reshape(math.prod(outer), size * channels)
        centre, scale = self._factors_of(size, uint8=moved.dtype == torch.uint8)
        # What is converted is a copy, and may be written to.
        rows = rows.sub(centre) if rows.dtype == self.dtype else rows.to(self.dtype).sub_(centre)
        normalised = rows.mul_(scale).view(moved.shape).movedim(-1, 1)
        return self.augment.cover(normalised, draws).contiguous(memory_format=self.memory_format)

    def _factors_of(self, size: int, *, uint8: bool) -> tuple[Tensor, Tensor]:
        """Return what is taken off each value of a row of pixels, and what it is multiplied by.

        One for each value of the row: arithmetic runs along memory and not over three channels.
        """
        if uint8 not in self._factors:
            whole = 255 if uint8 else 1
            made = (
                torch.tensor(values, dtype=self.dtype, device=self.device).repeat(size)
                for values in ([whole * mean for mean in self._mean], [1 / (whole * std) for std in self._std])
            )
            self._factors[uint8] = (next(made), next(made))
        return self._factors[uint8]

    def _batch_sizes(self) -> list[int]:
        whole, rest = divmod(len(self.indices), self.batch_size)
        sizes = [self.batch_size] * whole
        if rest and not self.drop_last:
            if self.shuffle and rest == 1 and sizes:
                sizes[-1] += 1
            else:
                sizes.append(rest)
        return sizes


def batch_digest(batches: Batches) -> str:
    """Return the SHA-256 of the first batch of epoch 0, examples (contiguous, channels first) and targets.

    Two arms that show the same digest were shown the same examples, equally augmented, in the same order.
    """
    epoch = batches.epoch
    batches.set_epoch(0)
    examples, targets = next(iter(batches))
    batches.set_epoch(epoch)
    digest = hashlib.sha256(examples.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    array = targets.cpu().numpy()
    digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
