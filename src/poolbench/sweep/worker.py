"""A worker: takes cells from a plan, one after another, until none is left.

Cells that nobody was at come first; those whose process ended under them come behind, so that one that ends every
process keeps no other from being trained.
"""

import faulthandler
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.data import Datasets
from poolbench.errors import ClaimLost, ConfigurationError, Hung, Stopped
from poolbench.loggers import Session
from poolbench.run.failed import write_failed
from poolbench.run.under import Under
from poolbench.run.walk import run_cell
from poolbench.sweep.claims import Attempt, Claim, Claims
from poolbench.sweep.heart import HANGS, Heart, Pulse
from poolbench.sweep.plan import FrozenCell, PlanFolder, PlannedSweep
from poolbench.sweep.process import log
from poolbench.sweep.state import Done
from poolbench.training import newest_epoch
from poolbench.writable import require_inside

# Seconds between two looks at cells that others are at.
POLL_S = 0.5


class Display(Protocol):
    """Receives how far a worker is."""

    def begin(self, title: str, epochs: int) -> None:
        """A cell begins."""

    def steps(self, done: float, of: int) -> None:
        """`done` epochs of `of` are over, in fractions of an epoch."""

    def epoch(self, done: int, of: int, row: Mapping[str, float]) -> None:
        """An epoch is over."""

    def end(self, title: str, record: Mapping[str, Any] | None) -> None:
        """A cell is over; None: it was not this worker that ended it."""


@dataclass
class Worker:
    """A process at a plan.

    Args:
        plan: the plan's files.
        sweep: whose cells, and how.
        claims: as this process makes and sees them.
        heart: that of this process; it beats.
        display: receives what happens.
        arms: what is known of arms.
        datasets: those that are open.
        cells: cells that are made already, by run; others are made of the plan's files.
        waits: whether it stays while others are at the last cells, to take up those of a worker that dies.
    """

    plan: PlanFolder
    sweep: PlannedSweep
    claims: Claims
    heart: Heart
    display: Display
    arms: Arms = field(default_factory=Arms)
    datasets: Datasets = field(default_factory=Datasets)
    cells: Mapping[str, Cell] = field(default_factory=dict)
    waits: bool = True

    def __post_init__(self) -> None:
        self._done = Done(self.plan.folder, self.sweep.again)
        self._left = list(self.sweep.run_ids)
        # Cells that this process cannot be at, with the reason.
        self.refused: dict[str, str] = {}
        self.trained = 0
        self._session = Session(self.plan.folder, self.sweep.mirrors)

    def run(self) -> None:
        """Work until no cell is left.

        Raises:
            Stopped: a signal, or the sweep, asks to end; the cell at hand is interrupted, its claim given back.
        """
        try:
            with self._session, _alarms(self.heart), _stacks(self.claims):
                self._work()
        except OSError as error:  # what a cell raises is in its record: this is the plan's folder, or the record's
            raise Stopped(f"the results folder could not be written: {error}") from error

    def _work(self) -> None:
        while True:
            taken, busy = self._next()
            if taken is not None:
                self._do(*taken)
            elif busy and self.waits:
                self._pause()
            else:
                return

    def _pause(self) -> None:
        time.sleep(POLL_S)
        if self.heart.stop:
            raise Stopped(self.heart.stop)

    def _next(self) -> tuple[tuple[str, Claim] | None, bool]:
        """Return a cell with its claim, None where there is none to take; and whether others are at cells."""
        if self.heart.stop:
            raise Stopped(self.heart.stop)
        held = self.claims.all()
        behind: list[tuple[int, str]] = []
        busy = False
        for run_id in list(self._left):
            if run_id in held:
                if held[run_id].end:
                    behind.append((len(held[run_id].attempts), run_id))
                else:
                    busy = True
                continue
            claim = self._take(run_id)
            if claim is not None:
                return (run_id, claim), busy
            busy = busy or run_id in self._left
        for _, run_id in sorted(behind):
            claim = self._take(run_id)
            if claim is not None:
                return (run_id, claim), busy
            busy = busy or run_id in self._left
        return None, busy

    def _take(self, run_id: str) -> Claim | None:
        """Claim a cell that is not done; one that is done, or cannot be done here, is left no more."""
        if run_id in self.refused:
            self._left.remove(run_id)
            return None
        if self._done.is_done(run_id):
            self._left.remove(run_id)
            self.claims.drop(run_id)
            return None
        claim = self.claims.take(run_id, epoch=lambda: newest_epoch(self._folder(run_id)))
        if claim is None:
            return None
        # Another may have been quicker by a whole cell.
        if self._done.is_done(run_id):
            claim.release()
            self._left.remove(run_id)
            return None
        return claim

    def _do(self, run_id: str, claim: Claim) -> None:
        """Train the cell, or record that it ended too many processes."""
        try:
            cell = self._cell(run_id)
            if cell is not None:
                self._attend(cell, claim)
        finally:
            self.heart.attach(None)
            claim.release()

    def _attend(self, cell: Cell, claim: Claim) -> None:
        in_vain = attempts_in_vain(claim.attempts)
        try:
            if in_vain and len(in_vain) >= cell.protocol.attempts:
                self._give_up(cell, claim, in_vain)
            else:
                self._train(cell, claim)
        except ClaimLost:
            log.error("%s: another worker has taken it over; nothing more is written here", cell.title)
            self.display.end(cell.title, None)

    def _cell(self, run_id: str) -> Cell | None:
        if run_id in self.cells:
            return self.cells[run_id]
        try:
            frozen = self.plan.cell(run_id)
            require_inside(frozen.folder, self.plan.folder)
            return thawed(frozen, self.datasets)
        except ConfigurationError as error:
            self.refused[run_id] = str(error)
            log.error("%s", error)
            return None

    def _train(self, cell: Cell, claim: Claim) -> None:
        for attempt in claim.attempts[-1:]:
            log.warning("%s: %s (%s); it is taken up again", cell.title, attempt.end, attempt.process)
        self.display.begin(cell.title, cell.protocol.epochs)
        for left in range(self.sweep.retry, -1, -1):
            pulse = Pulse(claim, cell.protocol.time_limit, lambda reason: self._hangs(cell, claim, reason))
            self.heart.attach(pulse)
            under = replace(
                self._under(claim),
                progress=_Progress(self.display, pulse),
                should_stop=self.heart.reason,
                over=pulse.end,
            )
            record = run_cell(cell, self.arms, under)
            if record["status"] != "failed" or not left:
                break
            log.warning("%s failed and is tried again: %s", cell.title, record["reason"])
        self.trained += 1
        self.display.end(cell.title, record)
        if record["status"] == "failed" and self.sweep.on_failure == "stop":
            self.plan.stop(self.sweep, f"{cell.title} failed")
            raise Stopped(f"on_failure=stop: {cell.title} failed")

    def _give_up(self, cell: Cell, claim: Claim, in_vain: tuple[Attempt, ...]) -> None:
        last = in_vain[-1]
        reason = (
            f"its process ended {len(in_vain)} times in a row without a new epoch (`protocol.attempts`), last on "
            f"{last.process}: {last.end}: killed, out of memory, or ended by its own code"
        )
        trace = next((attempt.trace for attempt in reversed(in_vain) if attempt.trace), "")
        record = write_failed(cell, reason, trace=trace, under=self._under(claim))
        self.display.end(cell.title, record)

    def _hangs(self, cell: Cell, claim: Claim, reason: str) -> None:
        """Write the record of a cell that hangs; called by the heart, the process ends after it."""
        record = write_failed(cell, reason, trace=_all_stacks(), under=self._under(claim))
        claim.release()
        self.display.end(cell.title, record)

    def _under(self, claim: Claim) -> Under:
        attempts = [asdict(attempt) for attempt in claim.attempts]
        return Under(may_write=claim.is_held, attempts=attempts, session=self._session)

    def _folder(self, run_id: str) -> Any:
        return self._done.folder / run_id


class _Progress:
    """Tells the display, and gives the pulse its signs."""

    def __init__(self, display: Display, pulse: Pulse) -> None:
        self.display, self.pulse = display, pulse

    def steps(self, done: float, of: int) -> None:
        self.pulse.progress(done, of)
        self.display.steps(done, of)

    def epoch(self, done: int, of: int, row: Mapping[str, float]) -> None:
        self.pulse.progress(done, of)
        self.display.epoch(done, of, row)


def attempts_in_vain(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the last attempts in a row behind which the cell was no epoch further.

    >>> def attempt(epoch, reached):
    ...     return Attempt("a:1", "", epoch, reached, "its process ended")
    >>> len(attempts_in_vain((attempt(0, 0), attempt(0, 2), attempt(2, 2), attempt(2, 2))))
    2
    """
    found: list[Attempt] = []
    for attempt in reversed(attempts):
        if attempt.reached > attempt.epoch:
            break
        found.insert(0, attempt)
    return tuple(found)


def thawed(frozen: FrozenCell, datasets: Datasets) -> Cell:
    """Return the cell of a plan, checked and opened; it must still be the one that was planned.

    Raises:
        ConfigurationError: the data, the user's own code or the kind of device has changed since.
    """
    cell = Cell.of(frozen.config, frozen.labels, frozen.settings, datasets)
    if cell.identity != frozen.identity:
        changed = (
            f"the device is {cell.device.type} here, {frozen.device} in the plan"
            if cell.device.type != frozen.device
            else "its data or its code has changed"
        )
        raise ConfigurationError(
            f"{frozen.title} is not the cell that was planned: {changed}; give the command that planned it again"
        )
    return cell


@contextmanager
def _alarms(heart: Heart) -> Iterator[None]:
    """Let the heart interrupt a cell that hangs past its limit of time."""
    import signal

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: Any) -> None:
        if heart.answer():
            raise Hung(HANGS)

    before = signal.signal(signal.SIGALRM, over)
    heart.interrupts = True
    try:
        yield
    finally:
        heart.interrupts = False
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _stacks(claims: Claims) -> Iterator[None]:
    """Let the Python stack be written where a signal such as SIGSEGV ends the process."""
    was_enabled = faulthandler.is_enabled()
    path = claims.trace()
    with path.open("w") as file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            if was_enabled and sys.__stderr__ is not None:
                faulthandler.enable(sys.__stderr__)
            # A process that a signal ends leaves it, with the stack.
            path.unlink(missing_ok=True)


def _all_stacks() -> str:
    """Return the Python stack of every thread."""
    import traceback

    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = sys._current_frames().items()
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}" for ident, frame in stacks
    )
