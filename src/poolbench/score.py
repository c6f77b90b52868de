"""What examples are judged by: a score with name, unit and direction, and what a margin of it means."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from poolbench.errors import ConfigurationError

HIGHER, LOWER = "higher", "lower"
POINTS, PER_CENT = "points", "per cent"
FRACTION = "fraction of 1"


@dataclass(frozen=True)
class Score:
    """The primary score of a task: a mean of the examples' own.

    Args:
        name: as records have it, a word of letters, digits and `_`: `test_NAME` and `val_NAME` are its metrics.
        unit: `fraction of 1`, or what an error is measured in; "" where that has no unit.
        better: `higher` or `lower`.
        margin: what `margin=` counts: `points` (hundredths of the score's unit), or `per cent` of the reference's mean.

    Raises:
        ConfigurationError: an argument breaks its rule.

    >>> ACCURACY.sign, Score("mean_absolute_error", "degrees", "lower", "per cent").words
    (1, 'mean absolute error')
    """

    name: str
    unit: str
    better: str
    margin: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ConfigurationError(f"`score.name` must be a word of letters, digits and `_`, got {self.name!r}")
        if not isinstance(self.unit, str):
            raise ConfigurationError(f"`score.unit` must be a text, got {self.unit!r}")
        for key, known in (("better", (HIGHER, LOWER)), ("margin", (POINTS, PER_CENT))):
            if getattr(self, key) not in known:
                raise ConfigurationError(f"`score.{key}` must be {' or '.join(known)}, got {getattr(self, key)!r}")

    @property
    def sign(self) -> int:
        """1 where a higher score is better, −1 where a lower one is."""
        return 1 if self.better == HIGHER else -1

    @property
    def words(self) -> str:
        """The name as a reader sees it: `mean_iou` is `mean IoU`, `boundary_f` `boundary F`."""
        return " ".join({"iou": "IoU", "f": "F"}.get(word, word) for word in self.name.split("_"))

    def text(self, value: float) -> str:
        """Return a value as a line of text has it: in per cent, or with its unit.

        >>> ACCURACY.text(0.9712), Score("mean_absolute_error", "degrees", "lower", "per cent").text(1.23456)
        ('97.12 %', '1.235 degrees')
        """
        return f"{100 * value:.2f} %" if self.is_fraction else f"{value:.4g} {self.unit}".rstrip()

    @property
    def is_fraction(self) -> bool:
        """Whether it is shown in per cent and its differences in points."""
        return self.unit == FRACTION

    @property
    def margin_is_relative(self) -> bool:
        """Whether a margin is a share of the reference's mean."""
        return self.margin == PER_CENT

    def shown(self) -> dict[str, str]:
        """Return what a record holds of it."""
        return asdict(self)


ACCURACY = Score("accuracy", FRACTION, HIGHER, POINTS)
CLASSIFICATION = "classification"


def task_of(record: Mapping[str, Any]) -> tuple[str, Score]:
    """Return a record's task by name, and its score; records without one are of classifications.

    >>> task_of({})[0]
    'classification'
    """
    entry = record.get("task")
    if not isinstance(entry, Mapping):
        return CLASSIFICATION, ACCURACY
    score = _score("task.score", entry.get("score"))
    if "name" not in entry:
        raise ConfigurationError("`task` must hold `name`")
    return str(entry["name"]), score


def beside_of(record: Mapping[str, Any]) -> tuple[Score, ...]:
    """Return the further scores that a record's examples have, see `poolbench.tasks.Task.beside`.

    >>> beside_of({})
    ()
    """
    entry = record.get("task")
    further = entry.get("beside", []) if isinstance(entry, Mapping) else []
    if not isinstance(further, list):
        raise ConfigurationError(f"`task.beside` must be a list, got {further!r}")
    return tuple(_score("task.beside", one) for one in further)


def _score(key: str, entry: object) -> Score:
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"`{key}` must be an object, got {entry!r}")
    try:
        return Score(**entry)
    except TypeError as error:
        raise ConfigurationError(f"`{key}` must have name, unit, better and margin: {error}") from None
