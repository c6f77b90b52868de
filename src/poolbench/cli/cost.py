"""`poolbench cost`: what networks cost, without training or timing them, and without any data."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from poolbench.cli.designs import console, failure, looked_at, write_json, write_text
from poolbench.cli.place import place
from poolbench.errors import ConfigurationError

USAGE = """Show what a network costs with each variant: parameters, multiply-adds, the poolings' own operations and
bytes (for one example), what a training step keeps for its backward pass and its peak memory (for a batch). Nothing is
trained or timed and no data is opened: the dataset's YAML gives shape and classes.

  poolbench cost backbone=resnet20 pooling=max,avg_topk,lip dataset=cifar10
  poolbench cost backbone=torchvision backbone.model=resnet50 pooling=max,max_blur dataset.image_size=224

Overrides are those of `poolbench train`; a list shows several."""
COLUMNS = ("backbone", "dataset", "variant")
FIGURES = (
    *("parameters", "of poolings", "MMACs"),
    *("pooling\nMops", "reads\nMB", "writes\nMB", "kept\nMiB", "peak\nMiB"),
)


def add_to(commands: Any) -> None:
    """Add `poolbench cost`."""
    command = commands.add_parser(
        "cost",
        help="count parameters, multiply-adds, pooling operations and memory; no data, no training",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("overrides", nargs="*", help="Hydra overrides")
    _flags(command)
    command.set_defaults(run=lambda known: cost(known.overrides))


def _flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--batch-size", type=int, help="batch size for which memory is counted (default: the protocol's)"
    )
    parser.add_argument("--csv", type=place, metavar="FILE", help="also write the rows to this file")
    parser.add_argument(
        "--json", type=place, metavar="FILE", help="also write the rows, and the cost of each site, to this file"
    )
    return parser


def cost(arguments: Sequence[str]) -> int:
    """Print the cost of each design that the overrides ask for; return the exit status, 2 where one cannot be."""
    flags = _flags(argparse.ArgumentParser(prog="poolbench cost", add_help=False, allow_abbrev=False))
    return looked_at(arguments, flags, _look, command="cost")


def _look(designs: list[Any], refused: dict[str, str], known: argparse.Namespace) -> int:
    from poolbench.cli.narrow import tables
    from poolbench.measure.audit import audited

    if known.batch_size is not None and known.batch_size < 1:
        raise ConfigurationError(f"--batch-size must be at least 1, got {known.batch_size}")
    rows, detailed = [], []
    for design, assembled in designs:
        batch_size = known.batch_size or design.protocol.batch_size
        try:
            audit, figures = audited(assembled, batch_size=batch_size, device=design.device, step_ms=design.step_ms)
        except Exception as error:  # a custom network may raise anything: the other designs are shown
            refused[design.title] = failure(error)
            continue
        labels = {key: design.labels[key] for key in COLUMNS}
        rows.append({**labels, "input_shape": "x".join(map(str, design.input_shape)), **figures})
        detailed.append({**labels, "input_shape": design.input_shape, "cost": figures, "sites": audit["sites"]})
    out = console()
    # Examples of another shape, or another batch, are another table: their figures are not to be compared.
    for shape, batch_size in dict.fromkeys((row["input_shape"], row["memory_batch_size"]) for row in rows):
        title = f"{shape} examples, memory of a step of {batch_size} in float32"
        alike = [_shown(row) for row in rows if (row["input_shape"], row["memory_batch_size"]) == (shape, batch_size)]
        names = len(COLUMNS)
        for table in tables(out, (*COLUMNS, *FIGURES), alike, names=names, left=names, title=title):
            out.print(table)
    for title, reason in refused.items():
        out.print(f"unsupported: {title}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if known.csv:
        import pandas as pd

        write_text(known.csv, pd.DataFrame(rows).to_csv(index=False), "--csv")
    if known.json:
        write_json(known.json, detailed)
    return 2 if refused else 0


def _shown(row: Mapping[str, Any]) -> list[str]:
    own = [row[f"pooling_{key}"] for key in ("operations", "bytes_read", "bytes_written")]
    return [
        *(row[key] for key in COLUMNS),
        f"{row['parameters']:,}",
        f"{row['parameters_pooling']:,}",
        f"{row['multiply_adds'] / 1e6:,.2f}",
        *("–" if value is None else f"{value / 1e6:,.3f}" for value in own),
        f"{row['kept_bytes'] / 2**20:,.1f}",
        f"{row['peak_bytes'] / 2**20:,.1f}",
    ]
