"""Following a sweep that other processes work at: a line for each cell that is done, and who is at which."""

from collections.abc import Mapping, Sequence

from poolbench.sweep.claims import Claims, Held
from poolbench.sweep.heart import facts
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.progress import SweepProgress
from poolbench.sweep.state import Done


class Follower:
    """Tells a display what became of a sweep's cells since it looked last.

    Args:
        plan: the plan's files.
        sweep: whose cells.
        titles: what each cell is called, by run.
        progress: receives what happens.
    """

    def __init__(
        self, plan: PlanFolder, sweep: PlannedSweep, titles: Mapping[str, str], progress: SweepProgress
    ) -> None:
        self._claims = Claims(plan.claims)
        self._done = Done(plan.folder, sweep.again)
        self._titles = titles
        self._progress = progress
        self.left: list[str] = list(sweep.run_ids)

    def look(self) -> None:
        """Look at the files, and tell what is new."""
        held = self._claims.all()
        for run_id in list(self.left):
            if run_id in held and not held[run_id].end:
                continue
            record = self._done.record(run_id)
            if record is not None:
                self.left.remove(run_id)
                self._progress.end(self._titles[run_id], record)
        running = [(run_id, held[run_id]) for run_id in self.left if run_id in held and not held[run_id].end]
        self._progress.others(self._said(running))

    def _said(self, running: Sequence[tuple[str, Held]]) -> str:
        parts = []
        for run_id, one in running:
            epoch = facts(one.beat)
            parts.append(f"{self._titles[run_id]} ({epoch})" if epoch else self._titles[run_id])
        return "; ".join(parts)
