"""`poolbench bench backbone=… pooling=…`: speed of whole networks beside their reference, without any data."""

import argparse
import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from poolbench.checks import whole_number
from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import Job, compose
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.sweep.signals import ended_by_signals

BUDGET_S = 10.0
# Two benches of a pair, each within 1 %, are within 2 % of each other.
HALF_WIDTH = 0.01
PACKAGES = ("torch", "torchvision", "lightning", "numpy")
COLUMNS = (
    *("backbone", "dataset", "variant", "reference", "quantity", "batch_size", "unit"),
    *("median", "ci95_low", "ci95_high", "ratio", "ratio_ci95_low", "ratio_ci95_high", "repeats", "settled"),
    *("clock", "input_shape", "memory_format", "precision", "compiled", "threads", "allocator"),
    *("device", "device_name", "machine_id", "cores", "driver", "implementation", "reference_implementation"),
    *("poolbench", "python", *PACKAGES, "measured", "reason"),
)


def run_networks(arguments: argparse.Namespace) -> int:
    """Compose what the overrides ask for and measure it; return the exit status."""
    half_width = HALF_WIDTH if arguments.half_width is None else arguments.half_width
    if not 0 < half_width < math.inf:
        raise ConfigurationError(f"--half-width must be a number above 0, got {half_width}")
    names = [argument for argument in arguments.variants if "=" not in argument]
    if names:
        raise ConfigurationError(f"{names[0]!r} is no override KEY=VALUE: pooling={names[0]}?")
    sizes = batch_sizes(arguments.batch_sizes)
    budget_s = BUDGET_S if arguments.budget is None else arguments.budget

    flags = ["--config-dir", arguments.config_dir] if arguments.config_dir else []
    with ended_by_signals() as ended:
        from poolbench.measure.allocator import ALLOCATOR

        line = CommandLine.of("bench", [*arguments.variants, *flags])
        jobs = compose(line)
        allocators = list(dict.fromkeys(str(job.config["allocator"]) for job in jobs))
        if len(allocators) > 1:
            raise ConfigurationError(
                f"`allocator` is one for a process, got {', '.join(allocators)}; give one command for each"
            )
        ALLOCATOR.set(allocators[0])
        pairs = _pairs(jobs, line, arguments.threads)
        with _rows_to(arguments.csv) as writer:
            return _bench(pairs, writer, sizes, budget_s=budget_s, half_width=half_width)
    return ended.status


def batch_sizes(text: str | None) -> list[int] | None:
    """Return the batch sizes of `1,8,32`, None for None.

    >>> batch_sizes("32,1,8")
    [1, 8, 32]
    """
    if text is None:
        return None
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(sizes) < 1:
        raise ConfigurationError(f"--batch-sizes must be whole numbers of at least 1, as in 1,8,32, got {text!r}")
    return sorted(set(sizes))


def _rows_to(path: Path | None) -> AbstractContextManager[Any]:
    """Open the file before anything is measured: one that cannot be written is an error now."""
    if path is None:
        return nullcontext()
    try:
        return path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--csv: {path} cannot be written: {error.strerror or error}") from error


def _bench(
    pairs: Sequence[tuple[int, Any, Any]],
    file: Any,
    sizes: list[int] | None,
    *,
    budget_s: float,
    half_width: float,
) -> int:
    import torch
    from rich.console import Console

    table = csv.DictWriter(file, COLUMNS, lineterminator="\n") if file else None
    if table:
        table.writeheader()
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(
        f"each beside its reference, alternating in one process; medians, 95 % intervals; ~ where the {budget_s:g} s "
        f"ended before the interval of the ratio was within ±{half_width:.1%}; ratio of examples/s: above 1 is faster, "
        "of ms: below 1",
        highlight=False,
    )
    for used, design, reference in pairs:
        torch.set_num_threads(used)
        rows = []
        for row in _rows(design, reference, sizes, budget_s=budget_s, half_width=half_width):
            rows.append(row)
            if table:
                table.writerow(row)
                file.flush()  # whatever happens to a larger batch, the smaller ones are reported
        console.print(_table(rows))
    return 0


def _pairs(jobs: Sequence[Job], line: CommandLine, threads: int | None) -> list[tuple[int, Any, Any]]:
    """Return each different arm's threads and design, with its reference's; mistakes are reported together."""
    from poolbench.cell import Design
    from poolbench.cli.labels import described

    found: list[tuple[int, Any, Any]] = []
    mistakes: list[str] = []
    for job, asked in zip(jobs, described(jobs, line), strict=True):
        try:
            wanted = job.config["threads"]
            # `auto` goes by what else runs when a sweep starts; a bench takes one by default.
            set_here = None if wanted == "auto" else whole_number("threads", wanted, or_null="1 here")
            design = Design.of(asked.config, asked.labels)
            design.input_shape, design.num_classes  # noqa: B018 (what the dataset does not announce is an error now)
            reference = design.with_reference(asked.reference, str(job.config["reference"]))
            # A wrong argument is an error before anything is measured; what cannot be becomes a row.
            with suppress(UnsupportedError):
                for one in (design, reference):
                    one.assemble()
        except ConfigurationError as error:
            if str(error) not in mistakes:
                mistakes.append(str(error))
            continue
        used = threads or set_here or 1
        # Another seed draws other weights, which take as long.
        same = [(_seedless(one), _seedless(beside), other) for other, one, beside in found]
        if (_seedless(design), _seedless(reference), used) not in same:
            found.append((used, design, reference))
    if mistakes:
        raise ConfigurationError("; and ".join(mistakes))
    return found


def _seedless(design: Any) -> dict[str, Any]:
    return {**design.config, "seed": 0}


def _rows(
    design: Any, reference: Any, sizes: list[int] | None, *, budget_s: float, half_width: float
) -> Iterator[dict[str, Any]]:
    """Yield the rows of an arm; one with a reason alone where its network cannot be."""
    import torch

    from poolbench.measure.allocator import ALLOCATOR
    from poolbench.measure.implementations import implementations, summary
    from poolbench.measure.machine import machine
    from poolbench.measure.memory_limit import is_out_of_memory
    from poolbench.measure.speed import speed_by_batch_size
    from poolbench.measure.stopwatch import stopwatch_for

    protocol, here, stopwatch = design.protocol, machine(design.device), stopwatch_for(design.device)
    place = dict.fromkeys(COLUMNS, "") | {
        **{key: design.labels[key] for key in ("backbone", "dataset", "variant")},
        "reference": reference.labels["variant"],
        "clock": stopwatch.name,
        "input_shape": "×".join(map(str, design.input_shape)),
        "memory_format": protocol.memory_format,
        "precision": protocol.precision,
        "compiled": protocol.compile,
        "threads": torch.get_num_threads(),
        "allocator": ALLOCATOR.in_force,
        **{key: here[key] for key in ("device", "device_name", "machine_id", "cores", "driver", "python")},
        "poolbench": version("poolbench"),
        **{key: here["versions"].get(key, "") for key in PACKAGES},
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        arm = design.assemble().network
        other = arm if design.config == reference.config else reference.assemble().network
    except UnsupportedError as error:
        yield place | {"reason": str(error)}
        return
    batch_sizes = sizes or sorted({1, protocol.batch_size})
    look = partial(
        implementations,
        input_shape=design.input_shape,
        device=design.device,
        dtype=protocol.dtype,
        memory_format=protocol.torch_memory_format,
    )

    @cache
    def ran(size: int) -> dict[str, str]:
        try:
            return {
                "implementation": summary(look(arm, batch_size=size)),
                "reference_implementation": summary(look(other, batch_size=size)),
            }
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return {}  # the row says that it does not fit

    yield from (
        place | row | ran(row["batch_size"])
        for row in speed_by_batch_size(
            arm,
            other,
            batch_sizes=batch_sizes,
            input_shape=design.input_shape,
            num_classes=design.num_classes,
            task=design.task,
            device=design.device,
            precision=protocol.precision,
            memory_format=protocol.memory_format,
            optimizer_factory=protocol.build_optimizer,
            label_smoothing=protocol.label_smoothing,
            compiled=protocol.compile,
            stopwatch=stopwatch,
            budget_s=budget_s,
            half_width=half_width,
        )
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    first = rows[0]
    compiled = ", compiled" if first["compiled"] else ""
    title = (
        f"{first['backbone']} · {first['variant']} · {first['dataset']} beside {first['reference']}: "
        f"{first['input_shape']}, {first['memory_format']}, {first['precision']}{compiled}, "
        f"{first['device_name']}, {first['threads']} thread{'s' * (first['threads'] != 1)}, "
        f"allocator {first['allocator']}; ratio of {CLOCKS[first['clock']]}"
    )
    table = Table(title=escape(title), title_justify="left")
    table.add_column("quantity", no_wrap=True)
    for name in ("batch", "median"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("ratio", justify="right")
    table.add_column("repeats", justify="right", no_wrap=True)
    for row in rows:
        if row["reason"]:
            table.add_row(row["quantity"], str(row["batch_size"]), "–", "", escape(row["reason"]), "")
            continue
        ratio = _with_interval(row, "ratio", "ratio_ci95", lambda value: f"{value:.3f}")
        median = _with_interval(row, "median", "ci95", _figure)
        if not row["settled"]:  # the reference itself has no ratio to settle
            ratio, median = (ratio, f"~{median}") if row["ratio_ci95_low"] is None else (f"~{ratio}", median)
        table.add_row(
            row["quantity"], str(row["batch_size"]), escape(median), row["unit"], escape(ratio), str(row["repeats"])
        )
    return table


CLOCKS = {"processor": "processor time", "wall": "time passed", "events": "the GPU's time"}


def _with_interval(row: Mapping[str, Any], name: str, interval: str, form: Callable[[float], str]) -> str:
    low, high = row[f"{interval}_low"], row[f"{interval}_high"]
    ends = "" if low is None else f" [{form(low)}, {form(high)}]"
    return form(row[name]) + ends


def _figure(value: float) -> str:
    """Return four digits, and thousands in full.

    >>> _figure(0.123456), _figure(45678.9)
    ('0.1235', '45,679')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
