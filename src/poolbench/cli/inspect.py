"""`poolbench inspect`: the audit of a network before any training, without any data."""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from poolbench.cli.designs import console, failure, looked_at, write_json
from poolbench.cli.place import place

USAGE = """Show which layers of a network a variant replaces: every site with its geometry and shapes, the head, what is
left as it is and why, and which variants give the same network. Nothing is trained and no data is opened: the dataset's
YAML gives shape and classes.

  poolbench inspect backbone=torchvision backbone.model=resnet50 pooling=avg_topk dataset.image_size=224
  poolbench inspect backbone=resnet20 pooling='glob(*)' dataset=cifar10

Overrides are those of `poolbench train`; a list shows several."""


# Of the table of sites; `native` is the network's own layer, in whose place the operator stands.
HEADINGS = (
    *("site", "native", "operator", "kernel", "stride", "padding", "ceil"),
    *("in", "out", "receptive field", "parameters", "MMACs"),
)
# Names of tensors that are shown of a list of them.
SHOWN = 8


def add_to(commands: Any) -> None:
    """Add `poolbench inspect`."""
    command = commands.add_parser(
        "inspect",
        help="show which layers of a network are replaced, with shapes and cost; no data, no training",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("overrides", nargs="*", help="Hydra overrides")
    _flags(command)
    command.set_defaults(run=lambda known: inspect(known.overrides))


def _flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", type=place, metavar="FILE", help="also write the audits to this file")
    return parser


def inspect(arguments: Sequence[str]) -> int:
    """Print the audit of each design that the overrides ask for; return the exit status, 2 where one cannot be."""
    flags = _flags(argparse.ArgumentParser(prog="poolbench inspect", add_help=False, allow_abbrev=False))
    return looked_at(arguments, flags, _look, command="inspect")


def _look(designs: list[Any], refused: dict[str, str], known: argparse.Namespace) -> int:
    from poolbench.measure.audit import audited

    out = console()
    found: list[dict[str, Any]] = []
    same: dict[Any, dict[str, None]] = defaultdict(dict)
    for design, assembled in designs:
        try:
            audit, cost = audited(
                assembled, batch_size=design.protocol.batch_size, device=design.device, step_ms=design.step_ms
            )
        except Exception as error:  # a custom network may raise anything: the other designs are shown
            refused[design.title] = failure(error)
            continue
        _show(out, design, audit, cost)
        labels, shape = dict(design.labels), design.input_shape
        found.append({"labels": labels, "input_shape": shape, "audit": audit, "cost": cost})
        if audit["network_digest"] is not None:
            # Each once: with two protocols an arm comes twice.
            same[labels["backbone"], labels["dataset"], audit["network_digest"]][labels["variant"]] = None
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
    return 2 if refused else 0


def _show(out: Any, design: Any, audit: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
    from rich.text import Text

    from poolbench.cli.narrow import tables

    shape = "×".join(map(str, design.input_shape))
    out.print(Text(f"{design.title}: input {shape}, {design.num_classes} outputs", style="bold"))
    rows = [_site(row) for row in audit["sites"]]
    for table in tables(out, HEADINGS, rows, names=1, left=7) if rows else ["no sites"]:
        out.print(table)
    for said in sorted({f"{row['operator']}: {row['note']}" for row in audit["sites"] if row.get("note")}):
        out.print(said, highlight=False, markup=False, soft_wrap=True)
    out.print(_head(audit["head"]), highlight=False, markup=False, soft_wrap=True)
    _left_alone(out, audit["left_alone"])
    weights = audit.get("starting_weights")
    if weights:
        out.print(_weights(weights), highlight=False, markup=False, soft_wrap=True)
    matched = audit.get("match")
    if matched:
        out.print(
            f"matched by {matched['by']} at {matched['width']:.3f} times the width: {matched['reached']:,}, the "
            f"reference has {matched['target']:,} ({matched['difference']:+.2%})",
            highlight=False,
        )
    out.print(
        f"{cost['parameters']:,} parameters ({cost['parameters_pooling']:,} of the poolings), "
        f"{cost['multiply_adds'] / 1e6:,.1f} M multiply-adds an example",
        highlight=False,
    )
    out.print()


def _site(row: Mapping[str, Any]) -> list[str]:
    field = row["receptive_field"]
    mark = " (own geometry)" if row["geometry"] == "own" else ""
    return [
        row["name"],
        row["native"],
        _called(row) + mark,
        *("×".join(map(str, row[key])) for key in ("kernel_size", "stride", "padding")),
        "yes" if row["ceil_mode"] else "",
        *("×".join(map(str, row[key])) for key in ("input_shape", "output_shape")),
        "" if field is None else "×".join(map(str, field)) + _in_time(row),
        f"{row['parameters']:,}",
        f"{row['multiply_adds'] / 1e6:,.1f}",
    ]


def _in_time(row: Mapping[str, Any]) -> str:
    return f" ({row['receptive_field_ms']:,.0f} ms)" if "receptive_field_ms" in row else ""


def _called(row: Mapping[str, Any]) -> str:
    # What computes it is of no interest here: the record says what ran.
    arguments = ", ".join(part for part in row["arguments"].split(", ") if not part.startswith("implementation="))
    return f"{row['operator']}({arguments})" if arguments else str(row["operator"])


def _head(head: Mapping[str, Any]) -> str:
    note = f"; {head['note']}" if head["note"] else ""
    if not head["native"]:
        return f"head: none{note}"
    kept = "its own" if head["operator"] == head["native"] else f"{_called(head)} in the place of {head['native']}"
    return f"head: {kept}, {head['features']} features, at {head['name']}{note}"


def _weights(weights: Mapping[str, Any]) -> str:
    """Return what is said of trained weights: what was loaded and kept, and what found no place."""
    digest = f" ({weights['digest']})" if weights.get("digest") else ""
    counts = f"{weights['kept']:,} of {weights['loaded']:,} loaded parameters are kept"
    parts = [f"weights of {weights['source']}{digest}: {counts}"]
    for words, key in (
        ("exchanged", "exchanged"),
        ("not loaded, the file has no such tensor of that shape", "left_out"),
        ("tensors of the file without a place in the network", "unplaced"),
    ):
        names = weights.get(key) or []
        if names:
            more = f", … ({len(names)} in all)" if len(names) > SHOWN else ""
            parts.append(f"{words}: {', '.join(names[:SHOWN])}{more}")
    return "; ".join(parts)


def _left_alone(out: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what is left alone with its sizes, by reason: a network has many gates."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        sizes = " → ".join("×".join(map(str, row[key])) for key in ("input_shape", "output_shape") if row[key])
        parts = ", ".join(part for part in (row["native"], sizes) if part)
        reasons[row["reason"]].append(f"{row['name']} [{parts}]" if parts else row["name"])
    for reason, names in reasons.items():
        out.print(f"left alone: {', '.join(names)}: {reason}", highlight=False, markup=False, soft_wrap=True)
