"""What a job is composed from, as a digest: a job of a plan whose sources are the same need not be composed again.

Composing takes a tenth of a second an arm; a sweep of a thousand finished ones would be composed for two minutes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape, glob
from pathlib import Path

from poolbench.cli import choices
from poolbench.cli.compose import Composer, Job
from poolbench.cli.labels import described
from poolbench.errors import ConfigurationError
from poolbench.paths import PACKAGE
from poolbench.record import digest
from poolbench.sweep.asked import OF_THE_WHOLE, Asked
from poolbench.sweep.plan import PlanFolder

# Code that makes a plain cell of overrides.
CODE = (
    *("cli/compose.py", "cli/labels.py", "cli/command_line.py", "cli/task_overrides.py"),
    *("sweep/plan.py", "sweep/asked.py", "record.py"),
)


@dataclass(frozen=True)
class Sources:
    """What all jobs of a command are composed from beside their own overrides, as a digest."""

    digest: str

    @classmethod
    def of(cls, composer: Composer, folders: Sequence[Path]) -> "Sources":
        """Return the digest of every YAML file in these folders, of the code, and of what is asked of every job."""
        found = hashlib.sha256(repr((composer.name, composer.of_all)).encode())
        files = [path for folder in folders for path in yaml_files(folder)]
        for path in [*files, *(PACKAGE / name for name in CODE)]:
            found.update(f"{path}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
        return cls(found.hexdigest())

    def source(self, overrides: Sequence[str]) -> str:
        """Return the digest of what one job is composed from; what is one for the whole sweep has no part in a cell."""
        return digest([self.digest, [override for override in overrides if not _is_of_the_whole(override)]])


def asked_for(composer: Composer, first: Job, plan: PlanFolder) -> tuple[list[Asked], list[Job]]:
    """Return what the jobs ask for, and those of them that were composed for it; the others stand in the plan.

    `first` is the first job, composed.
    """
    sources = Sources.of(composer, first.folders)
    known = {} if varies(composer, first) else _known(plan)
    names = [sources.source(overrides) for overrides in composer.overrides]
    new = [number for number, name in enumerate(names) if name not in known]
    jobs = [first if not number else composer.job(composer.overrides[number]) for number in new]
    others = [known[name] for name in names if name in known]
    made = dict(zip(new, zip(described(jobs, composer.line, others), jobs, strict=True), strict=True))
    asked = []
    for number, name in enumerate(names):
        if number in made:
            one, job = made[number]
            asked.append(replace(one, source=name if job.is_plain else ""))
        else:
            asked.append(known[name])
    return asked, jobs


def _known(plan: PlanFolder) -> dict[str, Asked]:
    """Return the cells of a plan by what they were composed from."""
    try:
        cells = [cell for cell in plan.all_cells() if cell.source and not cell.unsupported]
    except ConfigurationError:  # of another version: it is written anew
        return {}
    return {
        cell.source: Asked(cell.config, cell.labels, cell.reference, source=cell.source, is_known=True)
        for cell in cells
    }


def yaml_files(folder: Path) -> list[Path]:
    """Return the YAML files below a folder, those behind links among them: in a checkout, `conf/experiment` is one."""
    # Path.rglob follows links from Python 3.13 on.
    return sorted(map(Path, glob(f"{escape(str(folder))}/**/*.yaml", recursive=True)))  # noqa: PTH207


def varies(composer: Composer, first: Job) -> bool:
    """Whether what must be one for the whole sweep may have several values: composing the jobs finds the mistake."""
    if not first.interpolated.isdisjoint(OF_THE_WHOLE):
        return True
    whole = [[override for override in job if _is_of_the_whole(override)] for job in composer.overrides]
    return any(one != whole[0] for one in whole)


def _is_of_the_whole(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    top = key.partition(".")[0]
    # The reference decides what a matched arm is, and the experiment's YAML anything.
    return (top in OF_THE_WHOLE and top != "reference") or key in set(choices.GROUPS) & {"launcher", "logger"}
