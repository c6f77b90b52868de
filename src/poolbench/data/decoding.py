"""Decoding all images of a reader at once, and what is computed from them: digest, mean, standard deviation."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poolbench.data.content import ArrayReader
from poolbench.data.images import HeldImages, ImageSource, Reader, UnreadableImage
from poolbench.errors import DataError
from poolbench.processors import allowed_processors

CHUNK = 256
NAMED_UNREADABLE = 5
# Of float32 values that are all equal, so much of one is left of their standard deviation at most.
ROUNDING = 1e-7


def read_in_order(reader: Reader) -> Iterator[Tensor]:
    """Yield all examples of `reader` in order, batches (B, C, H, W) or (B, C, L), read ahead by one thread a core.

    Pillow lets other threads run while it decodes, so threads do, and nothing is copied between processes.

    Raises:
        DataError: images cannot be read: how many, and the first few by path; after all have been tried.
    """
    channels, *sizes = reader.shape
    unreadable: list[UnreadableImage] = []

    def read(begin: int) -> np.ndarray:
        chunk = np.zeros((min(CHUNK, len(reader) - begin), *sizes, channels), dtype_of(reader))
        for offset in range(len(chunk)):
            try:
                chunk[offset] = reader.read(begin + offset)
            except UnreadableImage as error:
                unreadable.append(error)
        return chunk

    threads = allowed_processors()
    begins = iter(range(0, len(reader), CHUNK))
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(read, begin) for begin in islice(begins, 4 * threads))
        while ahead:
            chunk = ahead.popleft().result()
            ahead.extend(pool.submit(read, begin) for begin in islice(begins, 1))
            yield torch.from_numpy(chunk).movedim(-1, 1)
    require_all_read(unreadable, len(reader), "images")


def require_all_read(unreadable: Sequence[UnreadableImage], count: int, what: str) -> None:
    """Raise `DataError` where any of `count` files cannot be read: how many, and the first few by path."""
    if not unreadable:
        return
    first = sorted(unreadable, key=lambda error: error.path)[:NAMED_UNREADABLE]
    named = "\n".join(f"  {error.path}: {error.reason}" for error in first)
    more = len(unreadable) - NAMED_UNREADABLE
    raise DataError(
        f"{len(unreadable)} of {count} {what} cannot be read; replace or remove them:\n{named}"
        + (f"\n  and {more} more" if more > 0 else "")
    )


def dtype_of(reader: Reader) -> np.dtype:
    """Return the dtype of what a reader reads: uint8, or what its attribute `dtype` says."""
    return np.dtype(getattr(reader, "dtype", np.uint8))


def decode(reader: Reader) -> np.ndarray:
    """Return all examples of `reader`, (N, H, W, C) or (N, L, C); raise `DataError` as `read_in_order` does."""
    if isinstance(reader, ArrayReader) and reader.images.shape[1:3] == reader.sizes:
        return np.ascontiguousarray(reader.images)
    channels, *sizes = reader.shape
    images = np.empty((len(reader), *sizes, channels), dtype_of(reader))
    begin = 0
    for batch in read_in_order(reader):
        images[begin : begin + len(batch)] = batch.movedim(1, -1).numpy()
        begin += len(batch)
    return images


@dataclass
class ChannelSums:
    """Sums over the pixels of each channel of uint8: whole numbers, so that no order of adding changes them."""

    pixels: int
    total: list[int]
    squares: list[int]

    @classmethod
    def zero(cls, channels: int) -> "ChannelSums":
        """Return the sums of no image."""
        return cls(0, [0] * channels, [0] * channels)

    def add(self, batch: Tensor) -> None:
        """Add uint8 examples (B, C, …)."""
        for channel in range(len(self.total)):
            levels = torch.bincount(batch[:, channel].flatten().int(), minlength=256).tolist()
            self.total[channel] += sum(level * count for level, count in enumerate(levels))
            self.squares[channel] += sum(level * level * count for level, count in enumerate(levels))
        self.pixels += batch[:, 0].numel()

    def mean(self) -> tuple[float, ...]:
        """Return the mean of each channel, as a fraction of 255."""
        return tuple(total / self.pixels / 255 for total in self.total)

    def std(self) -> tuple[float, ...]:
        """Return the standard deviation of each channel, as a fraction of 255; 1 where all pixels are equal."""
        variances = (
            (squares * self.pixels - total * total) / self.pixels**2
            for total, squares in zip(self.total, self.squares, strict=True)
        )
        return tuple(variance**0.5 / 255 or 1.0 for variance in variances)


@dataclass
class ChannelMoments:
    """Mean and squared distance from it of each channel of floating-point numbers, in float64."""

    count: int
    means: list[float]
    squares: list[float]

    @classmethod
    def zero(cls, channels: int) -> "ChannelMoments":
        """Return the moments of no example."""
        return cls(0, [0.0] * channels, [0.0] * channels)

    def add(self, batch: Tensor) -> None:
        """Add examples (B, C, …), by the rule for joining two samples (Chan, Golub and LeVeque, 1983)."""
        values = batch.movedim(1, 0).flatten(1).double()
        count = values.shape[1]
        total = self.count + count
        for channel, (own, mean) in enumerate(zip(values, values.mean(1).tolist(), strict=True)):
            apart = mean - self.means[channel]
            within = float((own - mean).square().sum())
            self.squares[channel] += within + apart * apart * self.count * count / total
            self.means[channel] += apart * count / total
        self.count = total

    def mean(self) -> tuple[float, ...]:
        """Return the mean of each channel."""
        return tuple(self.means)

    def std(self) -> tuple[float, ...]:
        """Return the standard deviation of each channel; 1 where all values are equal, but for rounding."""
        found = [(squares / self.count) ** 0.5 for squares in self.squares]
        return tuple(std if std > ROUNDING * abs(mean) else 1.0 for std, mean in zip(found, self.means, strict=True))


def sums_for(shape: Sequence[int], *, uint8: bool) -> ChannelSums | ChannelMoments:
    """Return what the mean and standard deviation of examples of this shape (C, …) are summed in."""
    return ChannelSums.zero(shape[0]) if uint8 else ChannelMoments.zero(shape[0])


def restored_sums(kept: Mapping[str, Any]) -> ChannelSums | ChannelMoments:
    """Return the sums that were kept as a dictionary of their fields."""
    return ChannelSums(**kept) if "pixels" in kept else ChannelMoments(**kept)


def channel_sums(source: ImageSource) -> ChannelSums | ChannelMoments:
    """Return the sums over all examples of a source."""
    sums = None
    for batch in source.batches(list(torch.arange(len(source)).split(1024))):
        sums = sums or sums_for(source.shape, uint8=batch.dtype == torch.uint8)
        sums.add(batch)
    return sums or sums_for(source.shape, uint8=True)


def require_finite(source: ImageSource, what: str) -> None:
    """Raise `DataError` for an example in memory that holds what is no number; `what` names it before its place."""
    if not isinstance(source, HeldImages) or not source.images.is_floating_point():
        return
    for first, batch in zip(range(0, len(source), 1024), source.images.split(1024), strict=True):
        bad = (~torch.isfinite(batch)).flatten(1).any(1).nonzero().flatten()
        if len(bad):
            at = int(bad[0])
            value = batch[at][~torch.isfinite(batch[at])][0].item()
            raise DataError(
                f"{what} {first + at:,} (counted from 0) holds {value}: every value must be a finite number; fill in "
                "or leave out what was not measured"
            )


class ContentDigest:
    """SHA-256 over shapes, decoded examples and labels: equal whether examples are held or streamed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def begin(self, part: str, shape: tuple[int, ...], count: int) -> None:
        """Begin a part of `count` examples."""
        self._hash.update(f"{part} {count} {tuple(shape)}".encode())

    def add(self, images: np.ndarray) -> None:
        """Add examples (B, H, W, C) or (B, L, C)."""
        if images.dtype != np.uint8:
            images = images.astype(images.dtype.newbyteorder("<"))
        self._hash.update(np.ascontiguousarray(images).data)

    def end(self, labels: Tensor) -> None:
        """End a part with its labels."""
        array = labels.numpy()
        if array.dtype != np.int64:
            self._hash.update(f"{array.dtype} {array.shape}".encode())
        self._hash.update(array.astype(array.dtype.newbyteorder("<")).tobytes())

    def hexdigest(self) -> str:
        """Return the digest in hexadecimal."""
        return self._hash.hexdigest()


def digest_of(train: HeldImages, test: HeldImages) -> str:
    """Return the digest of both parts."""
    digest = ContentDigest()
    for part, source in (("train", train), ("test", test)):
        digest.begin(part, source.shape, len(source))
        digest.add(source.images.numpy())
        digest.end(source.labels)
    return digest.hexdigest()
