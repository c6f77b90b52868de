"""What a cell's sweep asks beside the cell: where its record goes, what it is compared with."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.force import Force
from poolbench.record import records_folder, speed_folder


@dataclass(frozen=True)
class Settings:
    """What a sweep asks beside its cells; none of it changes a figure.

    Args:
        results_dir: where experiments' folders lie.
        name: the experiment's name.
        reference: the variant that others are compared with.
        margin: a difference up to this, either way, is a tie; fraction of 1.
        force: which finished cells are run again.
        loggers: logger specifications by name.
        command: the command line, for the record.
        part: of a sweep that belongs to another one, the name of its folder below that one's; empty elsewhere.
    """

    results_dir: Path
    name: str
    reference: str
    margin: float = 0.005
    force: Force = field(default_factory=Force)
    loggers: Mapping[str, Mapping[str, Any]] | None = None
    command: tuple[str, ...] = ()
    part: str = ""

    @property
    def folder(self) -> Path:
        """The experiment's folder."""
        return self.results_dir / self.name

    @property
    def records(self) -> Path:
        """The folder of the experiment's records."""
        return records_folder(self.results_dir, self.name)

    @property
    def speeds(self) -> Path:
        """The folder of the experiment's speed records."""
        return speed_folder(self.results_dir, self.name)

    def without_named_runs(self) -> "Settings":
        """Return the settings without the runs that `force` names; what it asks of every cell stays."""
        return replace(self, force=Force()) if self.force.runs else self

    def content(self) -> dict[str, Any]:
        """Return what a file in the experiment's folder holds of them: all but where it lies, and what holds once."""
        return {key: value for key, value in asdict(self).items() if key not in ("results_dir", "force", "part")}

    @classmethod
    def of(cls, content: Mapping[str, Any], folder: Path) -> "Settings":
        """Return the settings of such a file; `folder` is the experiment's, wherever it lies now."""
        # `..` is taken out; links stay, as they are a part of the name.
        parts, here = Path(content["name"]).parts, Path(os.path.abspath(folder))  # noqa: PTH100
        if not parts or here.parts[-len(parts) :] != parts:
            raise ConfigurationError(f"{folder}: holds the plan of {content['name']!r}; a folder keeps its name")
        results_dir = here.parents[len(parts) - 1]
        return cls(results_dir=results_dir, **{**content, "command": tuple(content["command"]), "force": Force()})
