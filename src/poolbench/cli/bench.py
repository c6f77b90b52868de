"""`poolbench bench`: speed and memory of operators beside torch's own max pooling, or speed of whole networks."""

import argparse
import math
from pathlib import Path
from typing import Any

from poolbench.cli import choices
from poolbench.cli.place import place
from poolbench.errors import ConfigurationError, unknown_name

LAYOUTS = ("contiguous", "channels_last")
DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("cpu", "cuda")


USAGE = """Without KEY=VALUE: time the operators of conf/pooling against nn.MaxPool2d, alternating in one process.

A head has no window of its own: it is compared with nn.MaxPool2d on the same map.

With KEY=VALUE, as `poolbench train` takes them: time whole networks against their reference, without any data.

  poolbench bench avg_topk softpool --layout channels_last
  poolbench bench backbone=slides pooling=avg_topk,avg --batch-sizes 1,8,32,128 --csv speed.csv
  poolbench bench backbone=resnet18 pooling='glob(*)' dataset=cifar10 dataset.image_size=64 protocol=fast

keys: backbone, pooling, head, dataset, protocol, trainer, reference, threads, allocator and all keys inside them."""
IMPLEMENTATIONS = ("fast", "torch", "triton")
OF_OPERATORS = ("quick", "layout", "dtype", "device", "implementation")
OF_NETWORKS = ("batch_sizes", "half_width", "config_dir", "multirun")


def add_to(commands: Any) -> None:
    """Add `poolbench bench`."""
    command = commands.add_parser(
        "bench",
        help="measure speed: operators against torch's own, networks against their reference",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_flags(command)
    # Flags may stand between variants or overrides too, which argparse does not let a subcommand have.
    command.add_argument("rest", nargs=argparse.REMAINDER, metavar="VARIANT | KEY=VALUE", help="see above")
    command.set_defaults(run=lambda known: run(_all_parsed(known)))


def _add_flags(command: argparse.ArgumentParser) -> None:
    both = command.add_argument_group("operators and networks")
    both.add_argument("--threads", type=int, help="CPU threads (default 1, the most reliable)")
    both.add_argument(
        "--budget", type=float, metavar="SECONDS", help="longest time for one measurement (default 2; networks 10)"
    )
    both.add_argument("--csv", type=place, metavar="FILE", help="also write the rows to this file")
    operators = command.add_argument_group("operators")
    operators.add_argument(
        "--quick", action="store_true", default=None, help="smaller batches and less time, for a first look"
    )
    operators.add_argument("--layout", choices=LAYOUTS, action="append", help="memory layout (default: both)")
    operators.add_argument(
        "--dtype", choices=DTYPES, action="append", help="dtype (default float32); float16 needs cuda"
    )
    operators.add_argument(
        "--device",
        choices=DEVICES,
        help="device (default cpu); on cuda the kernels are also timed alone, as a CUDA graph",
    )
    operators.add_argument(
        "--implementation",
        choices=IMPLEMENTATIONS,
        help="fast: compiled kernels where they exist; torch; triton: with --device cuda (default: as configured)",
    )
    networks = command.add_argument_group("networks")
    networks.add_argument(
        "--batch-sizes", metavar="N,N", help="batch sizes to measure (default: 1 and the protocol's batch_size)"
    )
    networks.add_argument(
        "--half-width",
        type=float,
        help="stop when the ratio's interval is narrower than ± this fraction (default 0.01)",
    )
    networks.add_argument("--config-dir", "-cd", metavar="DIR", help="an additional folder of configurations")
    networks.add_argument("-m", "--multirun", action="store_true", default=None, help="accepted, but not needed")


def _all_parsed(known: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments with the flags among the rest as flags, and what remains as `variants`."""
    parser = argparse.ArgumentParser(prog="poolbench bench")
    _add_flags(parser)
    parser.add_argument("variants", nargs="*")
    return parser.parse_intermixed_args(known.rest, namespace=known)


def operator_specs(variants: list[str]) -> dict[str, dict[str, Any]]:
    """Return the specification of each variant's window operator, or of its head."""
    import yaml

    paths = choices.names("pooling")
    for name in variants:
        if name not in paths:
            raise unknown_name("pooling", name, paths)
    read = {name: yaml.safe_load(path.read_text(encoding="utf-8")) or {} for name, path in paths.items()}
    specs = {name: variant.get("downsample") or variant.get("head") for name, variant in read.items()}
    without = [name for name in variants if not specs[name]]
    if without:
        raise ConfigurationError(f"{', '.join(without)} sets no operator: there is nothing to time against max")
    return {name: spec for name, spec in specs.items() if spec and (not variants or name in variants)}


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and perhaps write the rows; return the exit status."""
    if arguments.threads is not None and arguments.threads < 1:
        raise ConfigurationError(f"--threads must be at least 1, got {arguments.threads}")
    if arguments.budget is not None and not 0 < arguments.budget < math.inf:
        raise ConfigurationError(f"--budget must be a number above 0 seconds, got {arguments.budget}")
    of_networks = [argument for argument in arguments.variants if "=" in argument]
    kind, others = ("networks", OF_OPERATORS) if of_networks else ("operators", OF_NETWORKS)
    for name in others:
        if getattr(arguments, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            other = "operators" if of_networks else "networks"
            raise ConfigurationError(
                f"{flag} is for {other}; {kind} are timed here, since "
                + (
                    f"{of_networks[0]} is an override"
                    if of_networks
                    else "there is no override such as backbone=slides"
                )
            )
    if of_networks:
        from poolbench.cli.bench_network import run_networks

        return run_networks(arguments)
    return _run_operators(arguments)


def _implemented(spec: dict[str, Any], implementation: str) -> dict[str, Any]:
    """Return an operator's specification with an implementation, if it is one that the operator can have."""
    from poolbench.pooling.bases.arguments import IMPLEMENTATIONS_OF_HEADS
    from poolbench.spec import TARGET, accepts, locate

    kind = locate(spec[TARGET])
    can_have = getattr(kind, "kind", "") == "window" or implementation in IMPLEMENTATIONS_OF_HEADS
    return {**spec, "implementation": implementation} if can_have and accepts(kind, "implementation") else spec


def _run_operators(arguments: argparse.Namespace) -> int:
    threads = arguments.threads or 1
    device_name, dtypes = arguments.device or "cpu", arguments.dtype or DTYPES[:1]
    if device_name == "cpu" and "float16" in dtypes:
        raise ConfigurationError("--dtype float16 is for --device cuda; on the CPU there is bfloat16")
    specs = operator_specs(arguments.variants)
    if arguments.implementation == "triton" and device_name != "cuda":
        raise ConfigurationError("--implementation triton is for --device cuda: its kernels run nowhere else")
    import torch
    from rich.console import Console

    from poolbench.kernels.compiled import COMPILED
    from poolbench.measure.allocator import ALLOCATOR
    from poolbench.measure.machine import machine
    from poolbench.measure.operators import SHAPES, bench_operators

    device = torch.device(device_name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("--device cuda: torch finds no CUDA device here; leave it out to time on the CPU")
    if arguments.implementation:
        specs = {name: _implemented(spec, arguments.implementation) for name, spec in specs.items()}
    allocator = ALLOCATOR.set("keep")
    torch.set_num_threads(threads)
    here = machine(device)
    console = Console()
    if not console.is_terminal:
        console.width = 120 if device.type == "cpu" else 160  # a second ratio
    console.print(
        f"{here['device_name']}, {here['cores']} cores, torch {here['versions']['torch']}, "
        f"{threads} thread{'s' * (threads != 1)}, allocator {allocator}; each operator alternates with "
        "nn.MaxPool2d; median milliseconds, median ratio and its 95 % interval, ~ where the time ended before the "
        "interval was within 2 %; a head has no window and is set beside the pooling of windows on the same map"
        + ("; graph: the kernels alone, replayed as a CUDA graph" if device.type == "cuda" else ""),
        highlight=False,
    )
    if arguments.csv:
        _write(arguments.csv, [])  # a file that cannot be written is an error now, not when all is measured
    shapes = [shape.smaller(8) for shape in SHAPES] if arguments.quick else list(SHAPES)
    rows = []
    for shape in shapes:
        for layout in arguments.layout or LAYOUTS:
            found = bench_operators(
                specs,
                shapes=[shape],
                layouts=[layout],
                dtypes=dtypes,
                device=device,
                budget_s=arguments.budget or (0.2 if arguments.quick else 2.0),
            )
            block = list(found)
            rows += block
            console.print(_table(f"{shape.title}, {layout}", block))
            if arguments.csv:
                _write(arguments.csv, rows)  # at every table: what is measured stays when the command is ended
    console.print(
        f"{COMPILED.made} kernels compiled, {COMPILED.loaded} taken from the cache, in {COMPILED.seconds:.1f} s, "
        "none of it in the figures",
        highlight=False,
    )
    return 0


def _table(title: str, rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in ("operator", "by", "dtype"):
        table.add_column(name, no_wrap=True)
    graphs = any("graph_reason" in row for row in rows)
    titles = {"forward": ["forward\nms", "× max"], "backward": ["+ backward\nms", "× max"]}
    for name in [title for what in titles for title in titles[what] + ["graph\n× max"] * graphs] + ["kept\nMiB"]:
        table.add_column(name, justify="right", no_wrap="× max" not in name)  # an interval may wrap, no figure be cut
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        of_dtype = [row for row in rows if row["dtype"] == dtype]
        table.add_row(*_yardstick(of_dtype, graphs))
        for row in of_dtype:
            table.add_row(*_line(row, graphs))
        table.add_section()
    # In a cell a sentence would take the other columns' width.
    reasons = [f"{row['operator']}, {row['dtype']}: {row['reason']}" for row in rows if row["reason"]]
    ungraphed = [row for row in rows if row.get("graph_reason")]
    reasons += [f"{row['operator']}, {row['dtype']}: no graph: {row['graph_reason']}" for row in ungraphed]
    table.caption = Text("\n".join(reasons)) if reasons else None
    return table


def _yardstick(rows: list[dict[str, Any]], graphs: bool) -> list[str]:
    """Return the cells of `nn.MaxPool2d`, to which the ratios of `rows`, all of one dtype, are.

    It was timed beside each of them: its milliseconds are the median.
    """
    from statistics import median

    milliseconds = []
    for what in ("forward", "backward"):
        found = [row[f"{what}_max_ms"] for row in rows if f"{what}_max_ms" in row]
        milliseconds += [f"{median(found):.2f}", "1"] if found else ["", ""]
        milliseconds += ["1" if any(f"{what}_graph_ms" in row for row in rows) else ""] * graphs
    kept = next((f"{row['kept_max_mib']:.1f}" for row in rows if row["kept_max_mib"] is not None), "")
    return ["nn.MaxPool2d", "torch", rows[0]["dtype"], *milliseconds, kept]


def _line(row: dict[str, Any], graphs: bool) -> list[str]:
    if row["reason"]:
        return [row["operator"], "", row["dtype"], "–"]
    kept = "" if row["kept_mib"] is None else f"{row['kept_mib']:.1f}"
    cells: list[str] = []
    for what in ("forward", "backward"):
        cells += [*_cells(row, what), *[_cells(row, f"{what}_graph")[1]] * graphs]
    return [row["operator"], row["implementation"], row["dtype"], *cells, kept]


def _cells(row: dict[str, Any], what: str) -> tuple[str, str]:
    if f"{what}_ms" not in row:
        return "", ""
    low, high = row[f"{what}_ratio_ci95_low"], row[f"{what}_ratio_ci95_high"]
    interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
    mark = "" if row[f"{what}_settled"] else "~"
    return f"{row[f'{what}_ms']:.2f}", f"{mark}{row[f'{what}_ratio']:.2f}{interval}".replace("[", r"\[")


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    import csv

    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise ConfigurationError(f"--csv: {path} cannot be written: {error.strerror or error}") from error
