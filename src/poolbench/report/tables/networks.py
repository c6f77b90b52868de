"""Networks compared: one variant, one data set, several networks, beside one of them that the experiment names."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from poolbench.declared import Declared
from poolbench.record import digest
from poolbench.report.reading.arms import Arm, Block, Record, first, group, section
from poolbench.report.reading.outcomes import OutcomeFiles
from poolbench.report.statistics.comparison import WINDOW, compare_blocks
from poolbench.report.tables.frames import scores_table


def networks(
    blocks: Sequence[Block], reference: Mapping[str, Any], outcomes: OutcomeFiles, declared: Declared | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table `networks`, a row for each arm of a variant that several networks have, and warnings.

    Cells of equal seeds share split, order and augmentation whatever the network is, so they are compared as the arms
    of a block are, the networks of a variant being a family.

    Args:
        blocks: with their arms.
        reference: settings of the backbone that the others are compared with; none: nothing is compared.
        outcomes: of the folder.
        declared: the looks by which arms are judged; None: by all seeds at once.
    """
    by_variant: dict[tuple[str, str], list[tuple[Block, Arm]]] = defaultdict(list)
    for block in blocks:
        for arm in block.arms:
            by_variant[block.dataset, arm.variant].append((block, arm))
    several = {key: found for key, found in by_variant.items() if len(found) > 1}
    if not reference or not several:
        return pd.DataFrame(), []
    turned: list[Record] = []
    warnings = []
    for (dataset, variant), found in several.items():
        named = [block.backbone for block, arm in found if _has(arm, reference)]
        if len(named) != 1:
            what = ", ".join(f"{key}={value}" for key, value in reference.items())
            warnings.append(
                f"{variant} on {dataset}: networks are not compared, {len(named) or 'none'} of {len(found)} "
                f"{'have' if len(named) > 1 else 'has'} reference_backbone ({what})"
            )
            continue
        for block, arm in found:
            turned += [_turned(record, block, arm, named[0]) for record in arm.records.values()]
    if not turned:
        return pd.DataFrame(), warnings
    made, notes = group(turned)
    warnings += [f"networks: {note}" for note in notes]
    table = scores_table("networks", made, compare_blocks(made, outcomes, declared))
    table[["backbone", "variant"]] = table[["variant", "backbone"]].to_numpy()
    return table, warnings


def _has(arm: Arm, settings: Mapping[str, Any]) -> bool:
    backbone = first(arm, "config").get("backbone") or {}
    return all(key in backbone and backbone[key] == value for key, value in settings.items())


def _turned(record: Record, block: Block, arm: Arm, reference: str) -> Record:
    """Return a record with variant and backbone in each other's place."""
    # Taken of what the arms of a block differ in alone, the digest says nothing of two networks; nor do windows, which
    # are each network's own unless a site says otherwise.
    audit = {key: value for key, value in section(record, "audit").items() if key != "network_digest"}
    if "sites" in audit:
        audit["sites"] = [
            {key: value for key, value in site.items() if key not in WINDOW} for site in audit["sites"] or []
        ]
    labels = {"backbone": arm.variant, "variant": block.backbone, "dataset": block.dataset}
    return {
        **record,
        "audit": audit,
        "labels": labels,
        "block_id": digest({"variant": arm.variant, "dataset": block.dataset}),
        "reference": reference,
    }
