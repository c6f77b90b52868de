"""Which finished cells are run again: `force=false`, `true`, `failed`, `damaged`, or the names of runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError, unknown_name
from poolbench.record import damaged_files

NONE, ALL, FAILED, DAMAGED = "none", "all", "failed", "damaged"


@dataclass(frozen=True)
class Force:
    """Which of the cells that a sweep would leave as they are it runs again.

    Args:
        kind: `none`; `all`; `failed`: those that ended in another status than ok; `damaged`: those whose files are not
            what their record names (they count as unfinished without it, too); or `runs`.
        runs: for `runs`, their ids.
    """

    kind: str = NONE
    runs: tuple[str, ...] = ()

    @classmethod
    def of(cls, value: Any) -> "Force":
        """Return what `force=` asks for.

        >>> Force.of("failed")
        Force(kind='failed', runs=())
        >>> Force.of(["slides-max-digits-s0-0123456789ab"]).runs
        ('slides-max-digits-s0-0123456789ab',)
        """
        if isinstance(value, Force):
            return value
        if isinstance(value, bool):
            return cls(ALL if value else NONE)
        if value in (FAILED, DAMAGED):
            return cls(value)
        runs = [value] if isinstance(value, str) else value
        named = isinstance(runs, Sequence) and all(isinstance(run, str) and "-s" in run for run in runs)
        if not named or not runs:
            raise ConfigurationError(
                f"`force` must be true or false, failed, damaged, or a run's id such as "
                f"slides-max-digits-s0-0123456789ab, got {value!r}"
            )
        return cls("runs", tuple(runs))

    def check(self, run_ids: Collection[str]) -> None:
        """Raise `ConfigurationError` for a run that is none of the sweep's."""
        for run in self.runs:
            if run not in run_ids:
                raise unknown_name("run of this sweep in `force`", run, run_ids)

    def asks_for(self, folder: Path, record: Mapping[str, Any]) -> bool:
        """Whether the finished cell of this record, in the run's `folder`, is run again."""
        if self.kind == FAILED:
            return record["status"] != "ok"
        if self.kind == DAMAGED:
            return bool(damaged_files(folder, record))
        return self.kind == ALL or record["run_id"] in self.runs

    @property
    def asks_for_speed(self) -> bool:
        """Whether speeds that are on record are measured again: of all arms, or of none."""
        return self.kind == ALL
