"""Images of one part of a dataset, as uint8: held in memory, or read as they are needed by workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from poolbench.errors import DataError


class ImageSource(Protocol):
    """The images of one part (training or test) with their labels, in a fixed order.

    Every image is uint8 of one shape; a batch is (B, C, H, W) with channels-last strides, the order in which decoded
    images lie in memory.
    """

    @property
    def labels(self) -> Tensor:
        """Class of each image, int64 (N,), on the CPU."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""

    def __len__(self) -> int:
        """Number of images."""

    def gather(self, indices: Tensor) -> Tensor:
        """Return the images at `indices` (B,) as uint8 (B, C, H, W)."""

    def batches(self, order: Sequence[Tensor], *, pin_memory: bool = False) -> Iterator[Tensor]:
        """Yield `gather` of each tensor of indices in `order`, in that order."""

    def take(self, rows: Tensor) -> "ImageSource":
        """Return a source of the images at `rows` alone, in that order."""

    def on(self, device: torch.device) -> "ImageSource":
        """Return this source with its images on `device` where they fit there, else itself."""


class Reader(Protocol):
    """Reads one image at a time: from a file, or from an array that needs resizing."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, index: int) -> np.ndarray:
        """Return image `index` as uint8 (H, W, C); raise `UnreadableImage` where that cannot be."""

    def take(self, rows: Sequence[int]) -> "Reader":
        """Return a reader of the images at `rows` alone."""

    def notes(self) -> tuple[str, ...]:
        """Say what was done to the images read so far."""


class UnreadableImage(Exception):  # noqa: N818 (it is a finding that is collected, one of many)
    """One image cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class HeldImages:
    """Images in memory.

    Args:
        images: uint8 (N, H, W, C).
        labels: int64 (N,), on the CPU.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(
                f"`images` must be uint8 of shape (N, H, W, C), got {images.dtype} of {tuple(images.shape)}"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise DataError(
                f"`labels` must be int64 of shape ({len(images)},), got {labels.dtype} of {tuple(labels.shape)}"
            )
        self.images = images
        self.labels = labels
        self._rows = images.reshape(len(images), -1)
        self._copies: dict[torch.device, HeldImages] = {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, indices: Tensor) -> Tensor:
        """Return the images at `indices` (B,) as uint8 (B, C, H, W)."""
        rows = self._rows.index_select(0, indices.to(self._rows.device))
        return rows.view(-1, *self.images.shape[1:]).permute(0, 3, 1, 2)

    def batches(self, order: Sequence[Tensor], *, pin_memory: bool = False) -> Iterator[Tensor]:
        """Yield `gather` of each tensor of indices in `order`."""
        for indices in order:
            yield self.gather(indices)

    def take(self, rows: Tensor) -> "HeldImages":
        """Return the images at `rows` alone, as a copy."""
        return HeldImages(self.images[rows], self.labels[rows])

    def on(self, device: torch.device) -> "HeldImages":
        """Return these images on `device` where they take at most a quarter of its free memory, else themselves.

        The copy is made once; on the device a batch costs no transfer.
        """
        if device == self.images.device or device.type == "cpu":
            return self
        if device not in self._copies:
            if device.type == "cuda" and self.images.nbytes > torch.cuda.mem_get_info(device)[0] // 4:
                return self
            self._copies[device] = HeldImages(self.images.to(device), self.labels)
        return self._copies[device]


@dataclass
class _WholeBatches:
    """A reader as a torch dataset that is asked for a whole batch at once."""

    reader: Reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        try:
            return torch.from_numpy(np.stack([self.reader.read(int(index)) for index in indices]))
        except UnreadableImage as error:
            raise DataError(f"{error.path} cannot be read: {error.reason}") from error


def _as_it_is(batch: Tensor) -> Tensor:
    return batch


class StreamedImages:
    """Images that are decoded anew in each pass, by worker processes that read ahead.

    Args:
        reader: what decodes image `i`.
        labels: int64 (N,).
        workers: worker processes; 0 decodes in the calling one.
    """

    def __init__(self, reader: Reader, labels: Tensor, workers: int) -> None:
        self.reader = reader
        self.labels = labels
        self.workers = workers

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.reader.shape

    def __len__(self) -> int:
        return len(self.reader)

    def gather(self, indices: Tensor) -> Tensor:
        """Return the images at `indices` (B,) as uint8 (B, C, H, W), decoded in the calling process."""
        return _WholeBatches(self.reader).__getitems__(indices.tolist()).permute(0, 3, 1, 2)

    def batches(self, order: Sequence[Tensor], *, pin_memory: bool = False) -> Iterator[Tensor]:
        """Yield the batches of `order`, decoded ahead by the workers, which end with the pass."""
        arguments: dict[str, Any] = {"prefetch_factor": 4} if self.workers else {}
        loader: DataLoader[Tensor] = DataLoader(
            _WholeBatches(self.reader),  # type: ignore[arg-type]
            batch_sampler=[indices.tolist() for indices in order],
            num_workers=self.workers,
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            pin_memory=pin_memory,
            **arguments,
        )
        for batch in loader:
            yield batch.permute(0, 3, 1, 2)

    def take(self, rows: Tensor) -> "StreamedImages":
        """Return the images at `rows` alone."""
        return StreamedImages(self.reader.take(rows.tolist()), self.labels[rows], self.workers)

    def on(self, device: torch.device) -> "StreamedImages":
        """Return itself: batches are moved one by one."""
        return self


@dataclass(frozen=True)
class LoadedImages:
    """A dataset that is ready to be trained on.

    Args:
        train: images of the training set (the stated subset where there is one).
        test: images of the test set.
        class_names: a name for each class, in the order of the labels.
        mean: of each channel over the training images, as a fraction of 255.
        std: standard deviation of each channel likewise.
        digest: SHA-256 of the decoded content, before a subset was taken.
        streaming: whether images are decoded anew in each pass.
        notes: what a reader of the log or of the record should know, a line each.
    """

    train: ImageSource
    test: ImageSource
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    streaming: bool = False
    notes: tuple[str, ...] = ()
