"""Decoding all images of a reader at once, and what is computed from them: digest, mean, standard deviation."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from poolbench.data.content import ArrayReader
from poolbench.data.images import HeldImages, ImageSource, Reader, UnreadableImage
from poolbench.errors import DataError

CHUNK = 256
NAMED_UNREADABLE = 5


def read_in_order(reader: Reader) -> Iterator[Tensor]:
    """Yield all images of `reader` in order, uint8 batches (B, C, H, W), read ahead by one thread a core.

    Pillow lets other threads run while it decodes, so threads do, and nothing is copied between processes.

    Raises:
        DataError: images cannot be read: how many, and the first few by path; after all have been tried.
    """
    channels, height, width = reader.shape
    unreadable: list[UnreadableImage] = []

    def read(begin: int) -> np.ndarray:
        chunk = np.zeros((min(CHUNK, len(reader) - begin), height, width, channels), np.uint8)
        for offset in range(len(chunk)):
            try:
                chunk[offset] = reader.read(begin + offset)
            except UnreadableImage as error:
                unreadable.append(error)
        return chunk

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    begins = iter(range(0, len(reader), CHUNK))
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(read, begin) for begin in islice(begins, 4 * threads))
        while ahead:
            chunk = ahead.popleft().result()
            ahead.extend(pool.submit(read, begin) for begin in islice(begins, 1))
            yield torch.from_numpy(chunk).permute(0, 3, 1, 2)
    if unreadable:
        unreadable.sort(key=lambda error: error.path)
        named = "\n".join(f"  {error.path}: {error.reason}" for error in unreadable[:NAMED_UNREADABLE])
        more = len(unreadable) - NAMED_UNREADABLE
        raise DataError(
            f"{len(unreadable)} of {len(reader)} images cannot be read; replace or remove them:\n{named}"
            + (f"\n  and {more} more" if more > 0 else "")
        )


def decode(reader: Reader) -> np.ndarray:
    """Return all images of `reader`, uint8 (N, H, W, C); raise `DataError` as `read_in_order` does."""
    if isinstance(reader, ArrayReader) and reader.images.shape[1:3] == (reader.size, reader.size):
        return np.ascontiguousarray(reader.images)
    channels, height, width = reader.shape
    images = np.empty((len(reader), height, width, channels), np.uint8)
    begin = 0
    for batch in read_in_order(reader):
        images[begin : begin + len(batch)] = batch.permute(0, 2, 3, 1).numpy()
        begin += len(batch)
    return images


@dataclass
class ChannelSums:
    """Sums over the pixels of each channel: whole numbers, so that no order of adding changes them."""

    pixels: int
    total: list[int]
    squares: list[int]

    @classmethod
    def zero(cls, channels: int) -> "ChannelSums":
        """Return the sums of no image."""
        return cls(0, [0] * channels, [0] * channels)

    def add(self, batch: Tensor) -> None:
        """Add uint8 images (B, C, H, W)."""
        for channel in range(len(self.total)):
            levels = torch.bincount(batch[:, channel].flatten().int(), minlength=256).tolist()
            self.total[channel] += sum(level * count for level, count in enumerate(levels))
            self.squares[channel] += sum(level * level * count for level, count in enumerate(levels))
        self.pixels += batch.shape[0] * batch.shape[2] * batch.shape[3]

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


def channel_sums(source: ImageSource) -> ChannelSums:
    """Return the sums over all images of a source."""
    sums = ChannelSums.zero(source.shape[0])
    for batch in source.batches(list(torch.arange(len(source)).split(1024))):
        sums.add(batch)
    return sums


class ContentDigest:
    """SHA-256 over shapes, decoded images and labels: equal whether images are held or streamed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def begin(self, part: str, shape: tuple[int, int, int], count: int) -> None:
        """Begin a part of `count` images."""
        self._hash.update(f"{part} {count} {tuple(shape)}".encode())

    def add(self, images: np.ndarray) -> None:
        """Add images, uint8 (B, H, W, C)."""
        self._hash.update(np.ascontiguousarray(images).data)

    def end(self, labels: Tensor) -> None:
        """End a part with its labels."""
        self._hash.update(labels.numpy().astype("<i8").tobytes())

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
