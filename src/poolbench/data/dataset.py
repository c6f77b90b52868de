"""What a dataset offers, and how a YAML becomes one."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from poolbench.checks import is_whole, number_above
from poolbench.data.augment import Augment
from poolbench.data.decoding import channel_sums, require_finite
from poolbench.data.images import LoadedImages
from poolbench.data.sizes import sizes_of
from poolbench.data.split import check_resample, check_val_fraction, subset
from poolbench.data.task import Task, made_task, task_for
from poolbench.errors import ConfigurationError, DataError
from poolbench.spec import TARGET, accepts, build, custom_code, locate

# What a benchmark does with a dataset, and what describes it: passed to a class that takes them, which none need do.
SHARED = ("name", "train_images", "val_fraction", "resample", "augment", "mean", "std", "task", "step_ms")
DESCRIBING = ("channels", "image_size", "num_classes")


class Dataset(Protocol):
    """What `dataset._target_` must give: a custom class needs these six, and `task` where it is no classification.

    Opening is cheap (no example is read); `load` may take its time and is called once by whoever holds `Datasets`.

    Attributes:
        name: what tables call it.
        channels: C of an example.
        image_size: n for square images; (H, W), or (L,) for sequences.
        num_classes: how many classes there are, or how many numbers a target has: the width of what a network gives.

    An attribute `task` of the class says which task it is for, as `dataset.task` does: a name, a specification
    (`_target_` and arguments), or the object itself.
    """

    name: str
    channels: int
    image_size: int | Sequence[int]
    num_classes: int

    def fingerprint(self) -> str:
        """Return what stands for the content in a cell's identity."""

    def load(self) -> LoadedImages:
        """Return the examples; raise `DataError` where they are absent or unusable."""


def shape_of(dataset: Dataset) -> tuple[int, ...]:
    """Return channels and sizes of an example: (C, H, W), or (C, L)."""
    return dataset.channels, *sizes_of(dataset.image_size, where="image_size")


class Datasets:
    """The datasets of a sweep, held by who plans or trains it: equal ones are opened once and loaded once.

    >>> spec = {"_target_": "poolbench.data.digits.Digits", "name": "digits", "val_fraction": 0.1}
    >>> held = Datasets()
    >>> held.open(spec | {"val_fraction": 0.2}).load() is held.open(spec).load()
    True
    """

    def __init__(self) -> None:
        self._opened: dict[str, OpenDataset] = {}
        self._built: dict[str, Dataset] = {}
        self._loaded: dict[str, LoadedImages] = {}

    def open(self, spec: Mapping[str, Any]) -> "OpenDataset":
        """Open the dataset of a `conf/dataset` YAML as `open_dataset` does, or share what is open already."""
        key = _key(spec)
        if key not in self._opened:
            self._opened[key] = open_dataset(spec, self)
        return self._opened[key]

    def built(self, own: Mapping[str, Any]) -> Dataset:
        """Return the object that a specification describes, built at the first call."""
        key = _key(own)
        if key not in self._built:
            with custom_code(str(own.get(TARGET)), "`dataset`"):
                self._built[key] = build(own, where="dataset")
        return self._built[key]

    def loaded(self, key: Any, load: Callable[[], LoadedImages]) -> LoadedImages:
        """Return the images under this key, loaded at the first call."""
        text = _key(key)
        if text not in self._loaded:
            self._loaded[text] = load()
        return self._loaded[text]


def _key(content: Any) -> str:
    return json.dumps(content, sort_keys=True, default=str)


class OpenDataset:
    """A dataset as its YAML asks for it: checked against it, cut to the stated subset, loaded once by its holder.

    Attributes:
        shape: of an example, (C, H, W) or (C, L).
        task: that it is for.
    """

    def __init__(self, dataset: Dataset, spec: Mapping[str, Any], held: Datasets, task: Task) -> None:
        self.dataset = dataset
        self._held = held
        self.name = str(spec.get("name") or dataset.name)
        self.channels = dataset.channels
        self.image_size = dataset.image_size
        self.shape = shape_of(dataset)
        self.num_classes = dataset.num_classes
        self.step_ms = step_ms(spec, dataset)
        self.task = task
        self._spec = dict(spec)

    @property
    def _target(self) -> str:
        return str(self._spec[TARGET])

    @property
    def kind(self) -> str:
        """What messages call its examples."""
        return "images" if len(self.shape) == 3 else "sequences"

    def fingerprint(self) -> str:
        """Return the dataset's own."""
        with custom_code(self._target, "`fingerprint` of `dataset`"):
            return self.dataset.fingerprint()

    def load(self) -> LoadedImages:
        """Return the images, loaded at the first call."""
        loading = {
            key: value for key, value in self._spec.items() if key not in ("val_fraction", "augment", "resample")
        }
        return self._held.loaded([loading, self.fingerprint()], self._load)

    def _load(self) -> LoadedImages:
        with custom_code(self._target, "`load` of `dataset`"):
            images = self.dataset.load()
        for part, source in (("train", images.train), ("test", images.test)):
            if tuple(source.shape) != self.shape:
                raise DataError(
                    f"{self.name}: {part} {self.kind} have shape {tuple(source.shape)}, announced: {self.shape}"
                )
            if len(source) == 0:
                raise DataError(f"{self.name}: no {part} {self.kind}")
            require_finite(source, f"{self.name}: {part} example")
            self.task.check_targets(source.labels, self.shape, self.num_classes, f"{self.name}: {part}")
        count = self._spec.get("train_images")
        if count is not None:
            train = images.train.take(subset(self.task.strata(images.train.labels), count))
            sums = channel_sums(train)
            said = f"a stated subset: {count:,} of {len(images.train):,} training {self.kind}"
            images = replace(images, train=train, mean=sums.mean(), std=sums.std(), notes=(*images.notes, said))
        mean, std = self._spec.get("mean"), self._spec.get("std")
        return replace(
            images,
            mean=images.mean if mean is None else tuple(map(float, mean)),
            std=images.std if std is None else tuple(map(float, std)),
        )


def step_ms(spec: Mapping[str, Any], dataset: Any = None) -> float | None:
    """Return the milliseconds between neighbouring values along an example's last dimension, where they are known.

    Args:
        spec: a dataset's specification; its `step_ms` says so where it is given and not null.
        dataset: what is opened of it; its attribute `step_ms` says so otherwise.

    Raises:
        ConfigurationError: it is no number above 0.

    >>> step_ms({"step_ms": 7.8125}), step_ms({})
    (7.8125, None)
    """
    asked = spec.get("step_ms")
    return getattr(dataset, "step_ms", None) if asked is None else number_above("dataset.step_ms", asked)


def open_dataset(spec: Mapping[str, Any], held: Datasets | None = None) -> OpenDataset:
    """Open the dataset of a `conf/dataset` YAML; no example is read.

    `name`, `task`, `train_images`, `val_fraction`, `resample`, `augment`, `mean` and `std` say what is done with the
    dataset and are seen to here; `channels`, `image_size` and `num_classes` must agree with what the dataset has,
    unless they are null. These are arguments of `_target_` only where it has such a parameter; every other key is one.

    `load` of what is returned loads once; with `held`, once for all equal specifications and fingerprints there.

    Raises:
        ConfigurationError: an argument is wrong, or contradicts what the dataset is.
        DataError: the files can be seen to be absent (an image folder's).

    >>> dataset = open_dataset({"_target_": "poolbench.data.digits.Digits", "name": "digits", "val_fraction": 0.1})
    >>> dataset.channels, dataset.image_size, dataset.num_classes
    (1, 16, 10)
    """
    if not isinstance(spec, Mapping):
        raise ConfigurationError(f"`dataset` must be chosen: dataset=NAME, got {spec!r}")
    if "val_fraction" not in spec:
        raise ConfigurationError(
            "`dataset.val_fraction` is missing: the fraction of the training examples used for validation"
        )
    check_val_fraction(spec["val_fraction"])
    check_resample(spec.get("resample"))
    count = spec.get("train_images")
    if count is not None and (not is_whole(count) or count < 2):
        raise ConfigurationError(
            f"`dataset.train_images` must be null (all) or a whole number, at least 2, got {count!r}"
        )
    target = locate(spec.get(TARGET, ""))
    own = {key: value for key, value in spec.items() if key not in (*SHARED, *DESCRIBING) or accepts(target, key)}
    held = held or Datasets()
    dataset = held.built(own)
    missing = [
        name
        for name in ("name", "channels", "image_size", "num_classes", "fingerprint", "load")
        if not hasattr(dataset, name)
    ]
    if missing:
        raise ConfigurationError(
            f"`dataset` ({spec[TARGET]}) lacks {', '.join(missing)}; see poolbench.data.Dataset, or return a "
            f"poolbench.data.InMemory"
        )
    shape = shape_of(dataset)
    for key in DESCRIBING:
        asked, own = spec.get(key), getattr(dataset, key)
        agree = sizes_of(asked) == shape[1:] if key == "image_size" and asked is not None else asked == own
        if asked is not None and not agree:
            raise ConfigurationError(f"`dataset.{key}` is {asked!r}, but the dataset has {own}")
    for key in ("mean", "std"):
        _check_channel_values(key, spec.get(key), dataset.channels)
    Augment.of(spec.get("augment"), shape[1:])
    task = task_for(spec, target)
    of_dataset: Any = getattr(dataset, "task", None)
    if of_dataset is not None:
        found, wanted = made_task(of_dataset), spec.get("task")
        # A class derived from the dataset's own task has the same targets.
        if found.name != task.name and not isinstance(task, type(found)):
            raise ConfigurationError(
                f"`dataset.task` is {task.name}{'' if wanted else ' (where it is not given)'}, but the dataset is for "
                f"{found.name}: give `task: {found.name}` in its YAML, or dataset.task={found.name}, or a class "
                f"derived from {type(found).__name__}"
            )
        # What the dataset says of its task holds where the YAML only names it.
        task = task if isinstance(wanted, Mapping) else found
    return OpenDataset(dataset, spec, held, task)


def _check_channel_values(key: str, values: Any, channels: int) -> None:
    if values is None:
        return
    numbers = isinstance(values, Sequence) and all(isinstance(value, int | float) for value in values)
    if not numbers or len(values) != channels or (key == "std" and min(values) <= 0):
        above = ", all above 0" if key == "std" else ""
        raise ConfigurationError(
            f"`dataset.{key}` must be null (computed from the training examples) or {channels} numbers, one a "
            f"channel{above}, as fractions of 255 where examples are uint8, got {values!r}"
        )
