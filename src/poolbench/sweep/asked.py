"""What is asked of a sweep, as plain values: each cell, and the settings that are one for all of them."""

import copy
import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from poolbench.checks import is_number, number_above, true_or_false, whole_number
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.experiment import Experiment
from poolbench.force import Force
from poolbench.loggers.secrets import require_no_named_secret, require_no_secret
from poolbench.paths import expanded
from poolbench.record import GROUPS
from poolbench.settings import Settings
from poolbench.sweep.threads import checked_threads
from poolbench.tuning import Tune

LAUNCHERS = ("local", "processes", "slurm")
# Their other names.
ALSO = {"serial": "local", "joblib": "processes"}
ON_FAILURE = ("continue", "stop")
# One value for the whole sweep: a cell has no part in them.
OF_THE_WHOLE = (
    *("name", "results_dir", "question", "expected", "published", "reference", "margin", "force", "strict"),
    *("threads", "allocator", "speed", "launcher", "logger", "on_failure", "retry", "until", "tune"),
    "reference_backbone",
)
# Without these nothing is asked: a primary configuration of an older version has none.
OPTIONAL = ("logger", "until", "tune", "reference_backbone")
DECIDED = "decided"


@dataclass(frozen=True)
class Asked:
    """One cell as it is asked for.

    Args:
        config: backbone, pooling, head, dataset, protocol, trainer, seed, and `match` where the arm is matched.
        labels: of backbone, variant and dataset.
        reference: the pooling group of the variant that the arm is compared with.
        protocol: the recipe as its YAML has it, without what was set beside; None: not known.
        source: digest of what it was composed from; empty: it is composed anew each time.
        is_known: whether it comes from the plan, where it was checked.
    """

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    reference: Mapping[str, Any]
    protocol: Mapping[str, Any] | None = None
    source: str = ""
    is_known: bool = False

    @property
    def arm(self) -> str:
        """What tells the arms that are asked for apart: all but the seed, as JSON."""
        config = {key: value for key, value in self.config.items() if key != "seed"}
        return json.dumps([config, dict(self.labels)], sort_keys=True, default=str)

    def but(self, settings: Mapping[str, Any]) -> "Asked":
        """Return the cell with other settings, by dotted key; it is composed from nothing that a plan could find again.

        Its recipe is checked beside this one's: what is set to another value must change a step.

        Raises:
            KeyError: it has no such setting.
        """
        config = copy.deepcopy(dict(self.config))
        for key, value in settings.items():
            *above, last = key.split(".")
            place: Any = config
            for name in above:
                place = place.get(name) if isinstance(place, dict) else None
            if not isinstance(place, dict) or last not in place:
                raise KeyError(key)
            place[last] = value
        if config == self.config:
            return self
        # The recipe as it was written stays what a setting of the recipe is checked beside, until that is another.
        beside = self.protocol if config["protocol"] == self.config["protocol"] else self.config["protocol"]
        return replace(self, config=config, protocol=beside, source="", is_known=False)


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
        if not isinstance(config, Mapping):
            raise ConfigurationError(
                f"`speed` must hold measure, budget_s and half_width, got {config!r}; speed.measure=false measures none"
            )
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
        threads: of each process that trains; None: by the processors that are free when the sweep starts.
        allocator: `keep` or `system`.
        speed: how speed is measured.
        launcher: who runs the cells: `name` and its settings.
        on_failure: `continue`, or `stop`: the first cell that fails ends the sweep.
        retry: how often a cell that failed is tried again.
        until: `decided`: seeds are added in declared rounds; empty: those that are asked for are trained.
        tune: how arms are tuned beside; None: they are not.
    """

    experiment: Experiment
    cell: Settings
    strict: bool
    threads: int | None
    allocator: str
    speed: Speed
    launcher: Mapping[str, Any]
    on_failure: str = "continue"
    retry: int = 0
    until: str = ""
    tune: Tune | None = None

    def beside(self, part: str) -> "SweepSettings":
        """Return the settings of a sweep that belongs to this one, in a folder of its own below this one's."""
        cell = replace(self.cell.without_named_runs(), name=f"{self.cell.name}/{part}", part=part)
        return replace(
            self, cell=cell, experiment=Experiment(part), speed=replace(self.speed, measure=False), tune=None
        )

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
        lost = [key for key in OF_THE_WHOLE if key not in config and key not in OPTIONAL]
        if lost:
            raise ConfigurationError(f"`{lost[0]}` cannot be left out: give {lost[0]}=VALUE")
        name, margin, launcher = config["name"], config["margin"], config["launcher"]
        parts = Path(name).parts if isinstance(name, str) else ()
        if not parts or Path(name).is_absolute() or ".." in parts:
            raise ConfigurationError(f"`name` must be the name of a folder inside `results_dir`, got {name!r}")
        if not is_number(margin) or not 0 <= margin < 100:
            raise ConfigurationError(f"`margin` must be a number of points in 0..100, got {margin!r}")
        _check_place(config["results_dir"])
        called = ALSO.get(launcher["name"], launcher["name"])
        if called not in LAUNCHERS:
            raise unknown_name("`launcher.name`", str(called), LAUNCHERS)
        if config["on_failure"] not in ON_FAILURE:
            raise unknown_name("`on_failure`", str(config["on_failure"]), ON_FAILURE)
        if config.get("until") not in (None, DECIDED):
            raise unknown_name("`until`", str(config["until"]), (DECIDED,))
        require_no_secret(config.get("logger") or {})
        for one in configs:
            for group in GROUPS:
                require_no_named_secret(one.get(group), group)
        settings = Settings(
            results_dir=expanded(str(config["results_dir"]), "results_dir"),
            name=name,
            reference=str(config["reference"]),
            margin=margin / 100,
            force=Force.of(config["force"]),
            loggers=config.get("logger") or {},
            command=tuple(command),
        )
        _require_possible(settings.folder)
        return cls(
            experiment=Experiment.of(
                Path(name).name,
                config["question"],
                config["expected"],
                config["published"],
                reference_backbone=config.get("reference_backbone"),
            ),
            cell=settings,
            strict=true_or_false("strict", config["strict"]),
            threads=checked_threads(config["threads"]),
            allocator=str(config["allocator"]),
            speed=Speed.of(config["speed"]),
            launcher={**launcher, "name": called},
            on_failure=config["on_failure"],
            retry=whole_number("retry", config["retry"], least=0),
            until=config.get("until") or "",
            tune=Tune.of(config.get("tune")),
        )


def _check_place(results_dir: Any) -> None:
    if not isinstance(results_dir, str) or not results_dir:
        raise ConfigurationError(f"`results_dir` must be the path of a folder, got {results_dir!r}")


def _require_possible(folder: Path) -> None:
    """Raise where no folder can have this path: a name too long, or with a character that no path has."""
    try:
        (folder / "plan").lstat()
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP):
            return  # absent, or not to be read: that is seen where it is written
        reason = error.strerror
    except ValueError as error:
        reason = str(error)
    else:
        return
    raise ConfigurationError(f"`results_dir` and `name` must be the path of a folder, got {str(folder)!r}: {reason}")


def _check_one(key: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise where a setting of the whole sweep has several values: a comma makes a text a list of them."""
    found = {str(config.get(key)): None for config in configs}
    if len(found) > 1:
        values = ", ".join(map(repr, found))
        raise ConfigurationError(
            f"`{key}` must be one for the whole sweep, got {len(found)}: {values}; a text with a comma needs "
            f"quotes of its own: {key}='\"…, …\"'"
        )
