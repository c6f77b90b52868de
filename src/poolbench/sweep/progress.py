"""How far a sweep is: which cell of how many, the cell's epochs, the time left; a line for each finished cell."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from poolbench.score import task_of

MARKS = {"ok": "[green]ok[/]", "diverged": "[yellow]diverged[/]", "unsupported": "[yellow]unsupported[/]"}
# Each refresh takes the interpreter's lock from the training.
REFRESHES_PER_SECOND = 2


class SweepProgress:
    """A display of the sweep on a terminal, a line a cell elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.done = 0
        self.failed = 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            disable=not console.is_terminal,
        )
        self.sweep = self.bar.add_task("sweep", total=total, count=f"cell 1 of {total}")
        self.cell = self.bar.add_task("", total=1, count="")

    def __enter__(self) -> "SweepProgress":
        """Start the display."""
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the display."""
        self.bar.stop()

    def begin(self, title: str, epochs: int) -> None:
        """A cell begins."""
        self.bar.reset(self.cell, total=epochs, description=escape(title), count=f"epoch 0 of {epochs}")

    def steps(self, done: float, of: int) -> None:
        """`done` epochs of `of` are over, in fractions of an epoch."""
        self.bar.update(self.cell, completed=done)
        self.bar.update(self.sweep, completed=self.done + done / of)

    def epoch(self, done: int, of: int, row: Mapping[str, float]) -> None:
        """An epoch is over."""
        count = f"epoch {done} of {of}, {_validation(row)}"
        self.bar.update(self.cell, completed=done, count=count)
        self.bar.update(self.sweep, completed=self.done + done / of)

    def others(self, text: str) -> None:
        """What other processes are at."""
        self.bar.update(self.cell, description=escape(text), count="", visible=bool(text))

    def end(self, title: str, record: Mapping[str, Any] | None) -> None:
        """A cell is over."""
        self.done += 1
        self.failed += record is not None and record["status"] in ("failed", "diverged")
        self.bar.update(self.sweep, completed=self.done, count=f"cell {min(self.done + 1, self.total)} of {self.total}")
        self.console.print(f"[dim]{self.done}/{self.total}[/] {escape(title)}  {outcome(record)}", highlight=False)


class Silent:
    """A display that shows nothing: a worker's whose cells another process follows."""

    def begin(self, title: str, epochs: int) -> None:
        """A cell begins."""

    def steps(self, done: float, of: int) -> None:
        """`done` epochs of `of` are over."""

    def epoch(self, done: int, of: int, row: Mapping[str, float]) -> None:
        """An epoch is over."""

    def end(self, title: str, record: Mapping[str, Any] | None) -> None:
        """A cell is over."""


def outcome(record: Mapping[str, Any] | None) -> str:
    """Return a cell's outcome in a few words, as rich's markup."""
    if record is None:
        return "[yellow]another worker trains it[/]"
    mark = MARKS.get(record["status"], f"[red]{record['status']}[/]")
    if record["status"] != "ok":
        return f"{mark}: {escape(str(record['reason']))}"
    score = task_of(record)[1]
    reached = score.text(record["metrics"][f"test_{score.name}"])
    return f"{mark} test {reached}  {record['times']['total_s']:.1f} s"


def _validation(row: Mapping[str, float]) -> str:
    """Return the validation's score of an epoch's row, which has it beside `val_loss`."""
    name = next((key for key in row if key.startswith("val_") and key != "val_loss"), "val_accuracy")
    if name == "val_accuracy":
        return f"validation {100 * row[name]:.1f} %"
    return f"validation {name.removeprefix('val_').replace('_', ' ')} {row[name]:.4g}"
