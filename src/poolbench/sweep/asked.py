"""What is asked of a sweep, as plain values: each cell, and the settings that are one for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolbench.checks import is_number, number_above, true_or_false, whole_number
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.experiment import Experiment
from poolbench.settings import Settings

LAUNCHERS = ("serial", "joblib")
# One value for the whole sweep: a cell has no part in them.
OF_THE_WHOLE = (
    *("name", "results_dir", "question", "expected", "published", "reference", "margin", "force", "strict"),
    *("threads", "allocator", "speed", "launcher", "logger"),
)


@dataclass(frozen=True)
class Asked:
    """One cell as it is asked for.

    Args:
        config: backbone, pooling, head, dataset, protocol, trainer, seed, and `match` where the arm is matched.
        labels: of backbone, variant and dataset.
        reference: the pooling group of the variant that the arm is compared with.
    """

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    reference: Mapping[str, Any]


@dataclass(frozen=True)
class Speed:
    """How speed is measured.

    Args:
        measure: whether it is.
        budget_s: seconds for each of an arm's quantities, at most.
        half_width: relative half-width of the ratio's interval at which a measurement ends.
    """

    measure: bool
    budget_s: float
    half_width: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Speed":
        """Return the settings checked."""
        return cls(
            true_or_false("speed.measure", config["measure"]),
            number_above("speed.budget_s", config["budget_s"]),
            number_above("speed.half_width", config["half_width"]),
        )


@dataclass(frozen=True)
class SweepSettings:
    """What is one for all cells of a sweep; none of it changes a figure.

    Args:
        experiment: its name, and what it asks.
        cell: what each cell's record and claim need.
        strict: a combination that cannot be fails the sweep.
        threads: of each process that trains; None: as torch takes by itself.
        allocator: `keep` or `system`.
        speed: how speed is measured.
        launcher: who runs the cells: `name` and its settings.
    """

    experiment: Experiment
    cell: Settings
    strict: bool
    threads: int | None
    allocator: str
    speed: Speed
    launcher: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The experiment's folder."""
        return self.cell.folder

    @classmethod
    def of(cls, configs: Sequence[Mapping[str, Any]], command: Sequence[str]) -> "SweepSettings":
        """Return the settings of these composed configurations; raise `ConfigurationError` for what is wrong in them.

        `command` is the command line, for the records.
        """
        for key in OF_THE_WHOLE:
            _check_one(key, configs)
        config = configs[0]
        lost = [key for key in OF_THE_WHOLE if key not in config and key != "logger"]
        if lost:
            raise ConfigurationError(f"`{lost[0]}` cannot be left out: give {lost[0]}=VALUE")
        name, margin, launcher = config["name"], config["margin"], config["launcher"]
        if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ConfigurationError(f"`name` must be the name of a folder inside `results_dir`, got {name!r}")
        if not is_number(margin) or not 0 <= margin < 100:
            raise ConfigurationError(f"`margin` must be a number of points in 0..100, got {margin!r}")
        if launcher["name"] not in LAUNCHERS:
            raise unknown_name("`launcher.name`", str(launcher["name"]), LAUNCHERS)
        settings = Settings(
            results_dir=Path(str(config["results_dir"])),
            name=name,
            reference=str(config["reference"]),
            margin=margin / 100,
            force=true_or_false("force", config["force"]),
            loggers=config.get("logger") or {},
            command=tuple(command),
        )
        return cls(
            experiment=Experiment.of(Path(name).name, config["question"], config["expected"], config["published"]),
            cell=settings,
            strict=true_or_false("strict", config["strict"]),
            threads=whole_number("threads", config["threads"], or_null="torch's own choice"),
            allocator=str(config["allocator"]),
            speed=Speed.of(config["speed"]),
            launcher=launcher,
        )


def _check_one(key: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise where a setting of the whole sweep has several values: a comma makes a text a list of them."""
    found = {str(config.get(key)): None for config in configs}
    if len(found) > 1:
        values = ", ".join(map(repr, found))
        raise ConfigurationError(
            f"`{key}` must be one for the whole sweep, got {len(found)}: {values}; a text with a comma needs "
            f"quotes of its own: {key}='\"…, …\"'"
        )
