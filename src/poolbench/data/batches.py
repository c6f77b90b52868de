"""Batches on the device, for Lightning or a bare loop: order, augmentation and normalisation in one place."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from poolbench.checks import whole_number
from poolbench.data.augment import Augment, Draws
from poolbench.data.images import ImageSource
from poolbench.errors import ConfigurationError
from poolbench.streams import stream


class Batches:
    """An iterable over batches (images, labels): images (B, C, H, W) normalised, labels int64 (B,), on the device.

    `(x − 255·mean) / (255·std)` of the uint8 levels x. With `shuffle` an epoch has its own order and augmentation,
    drawn from the streams `order` and `augment` of `seed` and the epoch, whatever was drawn before.

    Args:
        source: where the images come from.
        indices: which of them, int64 (N,).
        batch_size: images a batch.
        seed: the cell's seed.
        augment: how training images vary (`poolbench.data.Augment` or its arguments); None for not at all.
        shuffle: draw a new order in each epoch; without it `indices` keep theirs.
        drop_last: leave out what does not fill a batch; None: where `shuffle` is set. Where it is kept in shuffled
            batches and is one image, that image joins the batch before: batch norm cannot train on one.
        device: where batches are wanted. Images in memory move there whole where they fit.
        mean: of each channel, as a fraction of 255.
        std: likewise.
        memory_format: `torch.channels_last` or `torch.contiguous_format`.
        dtype: of the images.

    Raises:
        ConfigurationError: `batch_size` exceeds the training images, an argument is out of range, no index is given.

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
    ) -> None:
        channels, height, width = source.shape
        whole_number("batch_size", batch_size)
        if len(indices) == 0:
            raise ConfigurationError("`indices` must name at least one image, got none")
        if shuffle and batch_size > len(indices):
            raise ConfigurationError(
                f"`protocol.batch_size` must be at most {len(indices)}, the number of images to train on, "
                f"got {batch_size}"
            )
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != channels:
                raise ConfigurationError(f"`{name}` must have {channels} values, one a channel, got {tuple(values)}")
        self.source = source.on(torch.device(device))
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.augment = Augment.of(augment, min(height, width))
        self.shuffle = shuffle
        self.drop_last = shuffle if drop_last is None else drop_last
        self.device = torch.device(device)
        self.memory_format = memory_format
        self.dtype = dtype
        self.epoch = 0
        self._sizes = self._batch_sizes()
        # One value for each byte of a row of pixels: arithmetic runs along memory and not over three channels.
        self._centre = torch.tensor([255 * value for value in mean], dtype=dtype, device=device).repeat(width)
        self._scale = torch.tensor([1 / (255 * value) for value in std], dtype=dtype, device=device).repeat(width)

    @property
    def images(self) -> int:
        """Number of images that batches are made from."""
        return len(self.indices)

    def __len__(self) -> int:
        return len(self._sizes)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and augmentation the next pass draws."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order, draws = self._draw()
        parts = list(order[: sum(self._sizes)].split(self._sizes))
        labels = self.source.labels[order].to(self.device)
        away = self.device.type != "cpu"
        begin = 0
        for raw in self.source.batches(parts, pin_memory=away):
            part = slice(begin, begin + len(raw))
            begin = part.stop
            images = raw.to(self.device, non_blocking=True)
            yield self._finish(images, draws[part]), labels[part]

    def _draw(self) -> tuple[Tensor, Draws]:
        if not self.shuffle:
            return self.indices, Draws()
        order = torch.randperm(len(self.indices), generator=stream(self.seed, "order", self.epoch))
        draws = self.augment.draw(len(order), self.source.shape[1], seed=self.seed, epoch=self.epoch)
        return self.indices[order], draws.to(self.device)

    def _finish(self, images: Tensor, draws: Draws) -> Tensor:
        moved = self.augment.move(images, draws).permute(0, 2, 3, 1)
        count, height, width, channels = moved.shape
        rows = moved.reshape(count * height, width * channels).to(self.dtype)
        rows = rows.sub_(self._centre).mul_(self._scale)
        normalised = rows.view(count, height, width, channels).permute(0, 3, 1, 2)
        return self.augment.cover(normalised, draws).contiguous(memory_format=self.memory_format)

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
    """Return the SHA-256 of the first batch of epoch 0, images (as contiguous (B, C, H, W)) and labels.

    Two arms that show the same digest were shown the same images, equally augmented, in the same order.
    """
    epoch = batches.epoch
    batches.set_epoch(0)
    images, labels = next(iter(batches))
    batches.set_epoch(epoch)
    digest = hashlib.sha256(images.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    digest.update(labels.cpu().numpy().astype("<i8").tobytes())
    return digest.hexdigest()
