"""The examples of one part of a dataset: held in memory, or read as they are needed by workers.

Most are images of uint8; a sequence (C, L) and numbers of floating point are held and read in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from poolbench.errors import DataError


class ImageSource(Protocol):
    """The examples of one part (training or test) with their labels, in a fixed order.

    Every example is uint8 or floating point, of one shape: an image (C, H, W) or a sequence (C, L). A batch is
    (B, C, H, W) or (B, C, L) with channels-last strides, the order in which decoded images lie in memory.
    """

    @property
    def labels(self) -> Tensor:
        """Target of each example, (N, …), on the CPU: its class, int64 (N,), or what another task has for targets."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and sizes of an example: (C, H, W) or (C, L)."""

    def __len__(self) -> int:
        """Number of examples."""

    def gather(self, indices: Tensor) -> Tensor:
        """Return the examples at `indices` (B,) as (B, C, H, W) or (B, C, L)."""

    def batches(self, order: Sequence[Tensor], *, pin_memory: bool = False) -> Iterator[Tensor]:
        """Yield `gather` of each tensor of indices in `order`, in that order."""

    def take(self, rows: Tensor) -> "ImageSource":
        """Return a source of the examples at `rows` alone, in that order."""

    def on(self, device: torch.device) -> "ImageSource":
        """Return this source with its examples on `device` where they fit there, else itself."""


class Reader(Protocol):
    """Reads one example at a time: from a file, or from an array that needs resizing.

    A reader of floating-point numbers has an attribute `dtype`; without one they are uint8.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and sizes of an example: (C, H, W) or (C, L)."""

    def __len__(self) -> int:
        """Number of examples."""

    def read(self, index: int) -> np.ndarray:
        """Return example `index` as (H, W, C) or (L, C); raise `UnreadableImage` where that cannot be."""

    def take(self, rows: Sequence[int]) -> "Reader":
        """Return a reader of the examples at `rows` alone."""

    def notes(self) -> tuple[str, ...]:
        """Say what was done to the examples read so far."""


class UnreadableImage(Exception):  # noqa: N818 (it is a finding that is collected, one of many)
    """One example cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class HeldImages:
    """Examples in memory.

    Args:
        images: uint8 or floating point, (N, H, W, C) or, of sequences, (N, L, C).
        labels: the target of each, (N, …), on the CPU: int64 (N,) where they are classes.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        numbers = images.dtype == torch.uint8 or images.is_floating_point()
        if not numbers or images.ndim not in (3, 4):
            raise DataError(
                f"`images` must be uint8 or floating point of shape (N, H, W, C), or (N, L, C) of sequences, "
                f"got {images.dtype} of {tuple(images.shape)}"
            )
        if labels.ndim < 1 or len(labels) != len(images):
            raise DataError(
                f"`labels` must be int64 classes, or another task's targets, one for each of the {len(images)}, "
                f"got {labels.dtype} of {tuple(labels.shape)}"
            )
        self.images = images
        self.labels = labels
        self._rows = images.reshape(len(images), -1)
        self._copies: dict[torch.device, HeldImages] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and sizes of an example."""
        _, *sizes, channels = self.images.shape
        return channels, *sizes

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, indices: Tensor) -> Tensor:
        """Return the examples at `indices` (B,) as (B, C, H, W) or (B, C, L)."""
        rows = self._rows.index_select(0, indices.to(self._rows.device))
        return rows.view(-1, *self.images.shape[1:]).movedim(-1, 1)

    def batches(self, order: Sequence[Tensor], *, pin_memory: bool = False) -> Iterator[Tensor]:
        """Yield `gather` of each tensor of indices in `order`."""
        for indices in order:
            yield self.gather(indices)

    def take(self, rows: Tensor) -> "HeldImages":
        """Return the examples at `rows` alone, as a copy."""
        return HeldImages(self.images[rows], self.labels[rows])

    def on(self, device: torch.device) -> "HeldImages":
        """Return these examples on `device` where they take at most a quarter of its free memory, else themselves.

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
    """Examples that are decoded anew in each pass, by worker processes that read ahead.

    Args:
        reader: what decodes example `i`.
        labels: the target of each, (N, …).
        workers: worker processes; 0 decodes in the calling one.
    """

    def __init__(self, reader: Reader, labels: Tensor, workers: int) -> None:
        self.reader = reader
        self.labels = labels
        self.workers = workers

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and sizes of an example."""
        return self.reader.shape

    def __len__(self) -> int:
        return len(self.reader)

    def gather(self, indices: Tensor) -> Tensor:
        """Return the examples at `indices` (B,), decoded in the calling process."""
        return _WholeBatches(self.reader).__getitems__(indices.tolist()).movedim(-1, 1)

    def batches(self, order: Sequence[Tensor], *, pin_memory: bool = False) -> Iterator[Tensor]:
        """Yield the batches of `order`, decoded ahead by the workers, which end with the pass."""
        arguments: dict[str, Any] = {"prefetch_factor": 4} if self.workers else {}
        loader: DataLoader[Tensor] = DataLoader(
            _WholeBatches(self.reader),  # type: ignore[arg-type]
            batch_sampler=[indices.tolist() for indices in order],
            num_workers=self.workers,
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            pin_memory=pin_memory,
            # Otherwise each pass would draw a number from the stream that dropout draws from.
            generator=torch.Generator(),
            **arguments,
        )
        for batch in loader:
            yield batch.movedim(-1, 1)

    def take(self, rows: Tensor) -> "StreamedImages":
        """Return the examples at `rows` alone."""
        return StreamedImages(self.reader.take(rows.tolist()), self.labels[rows], self.workers)

    def on(self, device: torch.device) -> "StreamedImages":
        """Return itself: batches are moved one by one."""
        return self


@dataclass(frozen=True, eq=False)
class Strata:
    """Named strata of a test set, by which accuracy is also reported: places of a motif, speakers.

    Args:
        names: of the strata, in the order in which they are shown.
        of: the stratum of each test example as a place among the names, int64 (N,).
    """

    names: tuple[str, ...]
    of: Tensor


@dataclass(frozen=True)
class LoadedImages:
    """A dataset that is ready to be trained on.

    Args:
        train: examples of the training set (the stated subset where there is one).
        test: examples of the test set.
        class_names: a name for each class, in the order of the labels; for numbers, a name for each.
        mean: of each channel over the training examples, as a fraction of 255 where they are uint8.
        std: standard deviation of each channel likewise.
        digest: SHA-256 of the decoded content, before a subset was taken.
        streaming: whether images are decoded anew in each pass.
        notes: what a reader of the log or of the record should know, a line each.
        test_groups: the origin of each test example where several have one (a speaker, a patient), int64 (N,): the
            statistics take groups for what varies independently. None: each example stands for itself.
        test_strata: into what the test set falls, for a table of accuracy by stratum; None: it is not parted.
    """

    train: ImageSource
    test: ImageSource
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    streaming: bool = False
    notes: tuple[str, ...] = ()
    test_groups: Tensor | None = None
    test_strata: Strata | None = None
