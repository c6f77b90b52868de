"""`poolbench inspect`: the audit of a network before any training, without any data."""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from poolbench.cli.designs import console, looked_at, write_json

USAGE = """Show where a variant goes in a network: every site with its geometry and shapes, what is left alone and why,
the head, and which variants come out as the same network. Nothing is trained and no data is opened: the dataset's
YAML gives shape and classes.

  poolbench inspect backbone=torchvision backbone.model=resnet50 pooling=avg_topk dataset.image_size=224
  poolbench inspect backbone=resnet20 pooling='glob(*)' dataset=cifar10

Overrides are those of `poolbench train`; a list looks at several."""


def add_to(commands: Any) -> None:
    """Add `poolbench inspect`."""
    command = commands.add_parser(
        "inspect",
        help="the sites of a network, their shapes and cost, and what is left alone; no data, no training",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("overrides", nargs="*", help="Hydra overrides")
    _flags(command)
    command.set_defaults(run=lambda known: inspect(known.overrides))


def _flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", metavar="FILE", help="also write the audits to this file")
    return parser


def inspect(arguments: Sequence[str]) -> int:
    """Print the audit of each design that the overrides ask for; return the exit status, 1 where one cannot be."""
    flags = _flags(argparse.ArgumentParser(prog="poolbench inspect", add_help=False, allow_abbrev=False))
    return looked_at(arguments, flags, _look, command="inspect")


def _look(designs: list[Any], refused: dict[str, str], known: argparse.Namespace) -> int:
    from poolbench.measure.audit import audited

    out = console()
    found: list[dict[str, Any]] = []
    same: dict[Any, list[str]] = defaultdict(list)
    for design, assembled in designs:
        audit, cost = audited(assembled, batch_size=design.protocol.batch_size, device=design.device)
        _show(out, design, audit, cost)
        labels, shape = dict(design.labels), design.input_shape
        found.append({"labels": labels, "input_shape": shape, "audit": audit, "cost": cost})
        if audit["network_digest"] is not None:
            same[labels["backbone"], labels["dataset"], audit["network_digest"]].append(labels["variant"])
    for (backbone, dataset, _), variants in same.items():
        if len(variants) > 1:
            out.print(
                f"{backbone} on {dataset}: {', '.join(variants)} are the same network", highlight=False, markup=False
            )
    for title, reason in refused.items():
        out.print(f"unsupported: {title}: {reason}", highlight=False, markup=False, soft_wrap=True)
        found.append({"title": title, "unsupported": reason})
    if known.json:
        write_json(known.json, found)
    return 1 if refused else 0


def _show(out: Any, design: Any, audit: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    image = "×".join(map(str, design.input_shape))
    out.print(Text(f"{design.title}: images {image}, {design.num_classes} classes", style="bold"))
    table = Table(title_justify="left", pad_edge=False)
    for heading in ("site", "own", "operator", "kernel", "stride", "padding", "ceil"):
        table.add_column(heading, overflow="fold")
    for heading in ("in", "out", "sees", "parameters", "MMACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in audit["sites"]:
        table.add_row(*map(Text, _site(row)))
    out.print(table if audit["sites"] else "no sites")
    head = audit["head"]
    own = head["native"] or "none"
    kept = "its own" if head["operator"] == own else f"{_called(head)} in the place of {own}"
    note = f"; {head['note']}" if head["note"] else ""
    out.print(
        f"head: {kept}, {head['features']} features{note}" if head["native"] else "head: none",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    _left_alone(out, audit["left_alone"])
    weights = audit.get("starting_weights")
    if weights:
        lost = f"; exchanged: {', '.join(weights['exchanged'])}" if weights["exchanged"] else ""
        out.print(
            f"weights of {weights['source']}: {weights['kept']:,} of {weights['loaded']:,} loaded parameters are kept"
            f"{lost}; not among them: {len(weights['left_out'])} tensors",
            highlight=False,
            markup=False,
        )
    matched = audit.get("match")
    if matched:
        out.print(
            f"matched by {matched['by']} at {matched['width']:.3f} times the width: {matched['reached']:,}, the "
            f"reference has {matched['target']:,} ({matched['difference']:+.2%})",
            highlight=False,
        )
    out.print(
        f"{cost['parameters']:,} parameters ({cost['parameters_pooling']:,} of the poolings), "
        f"{cost['multiply_adds'] / 1e6:,.1f} M multiply-adds an image",
        highlight=False,
    )
    out.print()


def _site(row: Mapping[str, Any]) -> list[str]:
    field = row["receptive_field"]
    mark = " (own)" if row["geometry"] == "own" else ""
    return [
        row["name"],
        row["native"],
        _called(row) + mark,
        *("×".join(map(str, row[key])) for key in ("kernel_size", "stride", "padding")),
        "yes" if row["ceil_mode"] else "",
        *("×".join(map(str, row[key])) for key in ("input_shape", "output_shape")),
        "" if field is None else "×".join(map(str, field)),
        f"{row['parameters']:,}",
        f"{row['multiply_adds'] / 1e6:,.1f}",
    ]


def _called(row: Mapping[str, Any]) -> str:
    # What computes it is of no interest here: the record says what ran.
    arguments = ", ".join(part for part in row["arguments"].split(", ") if not part.startswith("implementation="))
    return f"{row['operator']}({arguments})" if arguments else str(row["operator"])


def _left_alone(out: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what is left alone, by reason: a network has many gates."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        reasons[row["reason"]].append(row["name"])
    for reason, names in reasons.items():
        out.print(f"left alone: {', '.join(names)}: {reason}", highlight=False, markup=False)
