"""Datasets of arrays: a function that returns one is a `_target_`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poolbench.data.decoding import channel_sums, digest_of
from poolbench.data.images import HeldImages, LoadedImages, Strata
from poolbench.data.memory import MIB
from poolbench.errors import DataError


class InMemoryExamples:
    """A dataset of arrays of examples of any shape, channels first.

    Args:
        train: (N, C, H, W) images or (N, C, L) sequences, uint8 or floating point; an array or tensor.
        train_targets: one for each example: whole numbers from 0 where they are classes.
        test: likewise, of the same shape and dtype.
        test_targets: likewise.
        class_names: a name for each class; for numbers, a name for each number of a target.
        name: what tables call it, unless the YAML has a `name`.
        task: that it is for, as `dataset.task` has it; None: the YAML says it, or it is a classification.
        notes: what a reader of the log or of the record should know, a line each.

    Raises:
        DataError: dtype, shapes or counts do not fit.

    >>> signals, kinds = np.zeros((4, 1, 100), np.float32), [0, 1, 0, 1]
    >>> own = InMemoryExamples(signals, kinds, signals, kinds, ["normal", "early"])
    >>> own.channels, own.image_size, own.num_classes
    (1, (100,), 2)
    """

    def __init__(
        self,
        train: np.ndarray | Tensor,
        train_targets: Sequence[Any] | np.ndarray | Tensor,
        test: np.ndarray | Tensor,
        test_targets: Sequence[Any] | np.ndarray | Tensor,
        class_names: Sequence[str],
        *,
        name: str = "in_memory",
        task: Any = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.class_names = tuple(map(str, class_names))
        self.num_classes = len(self.class_names)
        self.notes = tuple(notes)
        self.task = task
        self._train = held("train", train, train_targets)
        self._test = held("test", test, test_targets)
        if (self._train.shape, self._train.images.dtype) != (self._test.shape, self._test.images.dtype):
            raise DataError(
                f"`test` must have the shape and dtype of `train`, {self._train.shape} of {self._train.images.dtype}, "
                f"got {self._test.shape} of {self._test.images.dtype}"
            )
        self.channels, *sizes = self._train.shape
        self.image_size: int | tuple[int, ...] = tuple(sizes)
        self._digest = digest_of(self._train, self._test)

    def fingerprint(self) -> str:
        """Return the digest of examples and targets."""
        return self._digest

    def load(self) -> LoadedImages:
        """Return the examples."""
        return loaded(self._train, self._test, self.class_names, digest=self._digest, notes=self.notes)


class InMemory(InMemoryExamples):
    """A dataset of square images and their classes.

    Args:
        train_images: uint8 array or tensor (N, H, W, C), (N, C, H, W) or, for grey images, (N, H, W); C is 1 or 3 and
            images are square. Where both readings fit, channels are taken to come last.
        train_labels: whole numbers from 0, (N,).
        test_images: likewise.
        test_labels: likewise.
        class_names: a name for each class.
        name: what tables call it, unless the YAML has a `name`.

    Raises:
        DataError: dtype, shapes, counts or labels do not fit.

    >>> images, labels = np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1]
    >>> own = InMemory(images, labels, images, labels, ["cat", "dog"])
    >>> own.channels, own.image_size, own.num_classes
    (3, 8, 2)
    """

    def __init__(
        self,
        train_images: np.ndarray | Tensor,
        train_labels: Sequence[int] | np.ndarray | Tensor,
        test_images: np.ndarray | Tensor,
        test_labels: Sequence[int] | np.ndarray | Tensor,
        class_names: Sequence[str],
        *,
        name: str = "in_memory",
    ) -> None:
        names = tuple(map(str, class_names))
        if len(names) < 2:
            raise DataError(f"`class_names` must name at least 2 classes, got {names!r}")
        train, test = _square("train", train_images), _square("test", test_images)
        if train.shape[1:] != test.shape[1:]:
            raise DataError(
                f"`test_images` must have the shape of `train_images`, {tuple(train.shape[1:])} as (C, H, W), "
                f"got {tuple(test.shape[1:])}"
            )
        super().__init__(
            train,
            _classes("train", train_labels, len(train), len(names)),
            test,
            _classes("test", test_labels, len(test), len(names)),
            names,
            name=name,
        )
        self.image_size = train.shape[-1]


def _square(part: str, images: Any) -> Tensor:
    """Return square images as (N, C, H, W)."""
    pixels = torch.as_tensor(images).cpu()
    if pixels.dtype != torch.uint8:
        raise DataError(f"`{part}_images` must be uint8 (0..255), got {pixels.dtype}")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.ndim == 4 and pixels.shape[3] in (1, 3):
        pixels = pixels.movedim(-1, 1)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or pixels.shape[2] != pixels.shape[3]:
        raise DataError(
            f"`{part}_images` must be square images (N, H, W, C), (N, C, H, W) or (N, H, W) with 1 or 3 channels, "
            f"got shape {tuple(torch.as_tensor(images).shape)}"
        )
    return pixels


def _classes(part: str, labels: Any, count: int, num_classes: int) -> Tensor:
    classes = torch.as_tensor(labels).cpu()
    if classes.is_floating_point() or classes.ndim != 1 or len(classes) != count or count == 0:
        raise DataError(
            f"`{part}_labels` must be whole numbers, one for each of the {count} images, "
            f"got {classes.dtype} of shape {tuple(classes.shape)}"
        )
    if classes.min() < 0 or classes.max() >= num_classes:
        raise DataError(
            f"`{part}_labels` must be in 0..{num_classes - 1} for {num_classes} class names, "
            f"got {int(classes.min())}..{int(classes.max())}"
        )
    return classes


def held(part: str, examples: Any, targets: Any) -> HeldImages:
    """Return examples in memory, from arrays with channels first.

    Args:
        part: names the arguments in a message: `train` or `test`.
        examples: (N, C, H, W) or (N, C, L), uint8 or floating point.
        targets: (N, …); whole numbers become int64, save class maps of uint8, which stay; others float32, one number
            for each example (N, 1).

    Raises:
        DataError: dtype or shape is another, or the numbers of examples and targets differ.
    """
    values, labels = torch.as_tensor(examples).cpu(), torch.as_tensor(targets).cpu()
    if not (values.dtype == torch.uint8 or values.is_floating_point()) or values.ndim not in (3, 4):
        raise DataError(
            f"`{part}` must be images (N, C, H, W) or sequences (N, C, L), uint8 or floating point, "
            f"got {values.dtype} of shape {tuple(values.shape)}"
        )
    if labels.ndim < 1 or len(labels) != len(values) or len(values) == 0:
        raise DataError(
            f"`{part}_targets` must be one for each of the {len(values)} examples, at least one, "
            f"got shape {tuple(labels.shape)}"
        )
    if labels.is_floating_point():
        labels = labels.float() if labels.ndim > 1 else labels.float()[:, None]
    elif labels.dtype != torch.uint8 or labels.ndim == 1:
        labels = labels.to(torch.int64)
    values = values.float() if values.is_floating_point() else values
    return HeldImages(values.movedim(1, -1).contiguous(), labels)


def loaded(
    train: HeldImages,
    test: HeldImages,
    class_names: Sequence[str],
    *,
    digest: str | None = None,
    notes: Sequence[str] = (),
    test_groups: Tensor | None = None,
    test_strata: Strata | None = None,
) -> LoadedImages:
    """Return a dataset of examples in memory, ready to be trained on: with mean, standard deviation and digest.

    Args:
        train: training examples.
        test: test examples.
        class_names: a name for each class.
        digest: of both parts, where it is known.
        notes: what a reader of the log or of the record should know.
        test_groups: see `LoadedImages`; where all test examples are of one group, they are taken for independent, which
            a note says: what varies between groups cannot be seen in one.
        test_strata: see `LoadedImages`.
    """
    if test_groups is not None and len(test_groups.unique()) < 2:
        test_groups = None
        notes = (*notes, "all test examples are of one group: intervals hold for it alone, not for others of its kind")
    sums = channel_sums(train)
    said = f"held in memory: {(train.images.nbytes + test.images.nbytes) / MIB:.0f} MiB"
    return LoadedImages(
        train,
        test,
        tuple(class_names),
        sums.mean(),
        sums.std(),
        digest or digest_of(train, test),
        notes=(*notes, said),
        test_groups=test_groups,
        test_strata=test_strata,
    )
