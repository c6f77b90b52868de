"""What an experiment asks, what was expected, and what others published: `RESULTS_DIR/NAME/experiment.json`.

It is written when a sweep begins, beside the records and never mixed with them: published figures come from other code,
often from another recipe, and are only ever set beside the figures here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from poolbench.checks import is_number, is_whole
from poolbench.declared import Declared
from poolbench.errors import ConfigurationError
from poolbench.record import read_json, write_json

EXPERIMENT_FILE = "experiment.json"


@dataclass(frozen=True)
class Published:
    """One figure that others published.

    Args:
        source: where it stands: authors, year, table.
        variant: the pooling, by the name that it has here.
        dataset: likewise.
        backbone: likewise.
        test_accuracy: fraction of 1; None: only a difference was published.
        difference: to the experiment's reference, a fraction of 1, where that is what was published; None: it is not.
        test_accuracy_std: over runs, as published; None: not given.
        n_runs: runs behind it; None: not given.
        recipe: how their training differs from the one here.
    """

    source: str
    variant: str
    dataset: str
    backbone: str
    recipe: str
    test_accuracy: float | None = None
    difference: float | None = None
    test_accuracy_std: float | None = None
    n_runs: int | None = None

    @classmethod
    def of(cls, row: Any, place: str) -> "Published":
        """Return the row checked; raise `ConfigurationError` that names `place`, the key and what would be right."""
        if not isinstance(row, Mapping):
            raise ConfigurationError(f"{place} must hold keys and values, got {row!r}")
        known = cls.__dataclass_fields__
        strange = [str(key) for key in row if key not in known]
        if strange:
            raise ConfigurationError(f"{place}: unknown {', '.join(strange)}; there are {', '.join(known)}")
        for key in ("source", "variant", "dataset", "backbone", "recipe"):
            if not isinstance(row.get(key), str) or not row[key].strip():
                raise ConfigurationError(f"{place}: `{key}` must be a text, got {row.get(key)!r}")
        accuracy, std, runs = (row.get(key) for key in ("test_accuracy", "test_accuracy_std", "n_runs"))
        difference = row.get("difference")
        if difference is not None:
            if accuracy is not None or std is not None:
                raise ConfigurationError(
                    f"{place}: `difference` stands in the place of `test_accuracy`: give one of the two"
                )
            if not is_number(difference) or not -1 <= difference <= 1:
                raise ConfigurationError(f"{place}: `difference` must be a fraction in -1..1, got {difference!r}")
        elif not _fraction(accuracy):
            raise ConfigurationError(f"{place}: `test_accuracy` must be a fraction in 0..1, got {accuracy!r}")
        if std is not None and not _fraction(std):
            raise ConfigurationError(f"{place}: `test_accuracy_std` must be a fraction in 0..1 or null, got {std!r}")
        if runs is not None and (not is_whole(runs) or runs < 1):
            raise ConfigurationError(f"{place}: `n_runs` must be a whole number of at least 1 or null, got {runs!r}")
        return cls(**row)


@dataclass(frozen=True)
class Experiment:
    """What an experiment is about.

    Args:
        name: the results folder's.
        question: what it asks; empty: not said.
        expected: what was expected before it ran; empty: not said.
        published: what others found.
        declared: the looks that were declared before the runs; None: none were.
        reference_backbone: settings of the network that the other networks are compared with, each variant by itself;
            none: networks are not compared.
    """

    name: str
    question: str = ""
    expected: str = ""
    published: tuple[Published, ...] = ()
    declared: Declared | None = None
    reference_backbone: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        question: Any,
        expected: Any,
        published: Any,
        place: str = "",
        declared: Any = None,
        reference_backbone: Any = None,
    ) -> "Experiment":
        """Return the experiment checked; raise `ConfigurationError` that names what is wrong."""
        for key, text in (("question", question), ("expected", expected)):
            if text is not None and not isinstance(text, str):
                raise ConfigurationError(f"{place}`{key}` must be a text, got {text!r}")
        if published is None:
            published = ()
        if not isinstance(published, Sequence) or isinstance(published, str):
            raise ConfigurationError(f"{place}`published` must be a list, got {published!r}")
        rows = tuple(Published.of(row, f"{place}`published[{index}]`") for index, row in enumerate(published))
        looks = None if declared is None else Declared.of(declared, f"{place}`declared`")
        settings = _settings(reference_backbone, place)
        return cls(name, (question or "").strip(), (expected or "").strip(), rows, looks, settings)

    @property
    def says_something(self) -> bool:
        """Whether there is more than the name."""
        return any((self.question, self.expected, self.published, self.declared, self.reference_backbone))

    def content(self) -> dict[str, Any]:
        """Return what the file holds."""
        found = asdict(self) | {"published": [asdict(row) for row in self.published]}
        for key in ("declared", "reference_backbone"):
            if not found[key]:
                del found[key]
        return found if self.declared is None else found | {"declared": self.declared.content()}


def _settings(given: Any, place: str) -> dict[str, Any]:
    """Return the settings of a backbone as they were given, by name alone or as a mapping."""
    if given is None:
        return {}
    found = {"name": given} if isinstance(given, str) and given else given
    if not isinstance(found, Mapping) or not found or not all(isinstance(key, str) for key in found):
        raise ConfigurationError(
            f"{place}`reference_backbone` must be the name of a backbone, or some of its settings such as "
            f"{{frames: none}}, got {given!r}"
        )
    return dict(found)


def _fraction(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def read_experiment(folder: Path) -> Experiment:
    """Return the experiment of a results folder, one that says nothing where it has no such file.

    Raises `ConfigurationError` where the file is no experiment.
    """
    path = folder / EXPERIMENT_FILE
    if not path.is_file():
        return Experiment(folder.resolve().name)
    found = read_json(path)
    question, expected, published = (found.get(key) for key in ("question", "expected", "published"))
    further = {key: found.get(key) for key in ("declared", "reference_backbone")}
    return Experiment.of(folder.resolve().name, question, expected, published, f"{path}: ", **further)


def write_experiment(folder: Path, experiment: Experiment) -> None:
    """Write the experiment into its results folder, whole or not at all."""
    write_json(folder / EXPERIMENT_FILE, experiment.content())
