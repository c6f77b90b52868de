"""The table over blocks as a frame."""

from collections.abc import Sequence

import pandas as pd

from poolbench.report.statistics.over_blocks import OverBlocks
from poolbench.report.tables.frames import comparison, frame
from poolbench.score import Score


def over_blocks_frame(found: Sequence[OverBlocks]) -> pd.DataFrame:
    """Return the table, a row for each arm."""
    return frame(
        "over_blocks",
        [
            comparison(one.compared)
            | {
                "variant": one.variant,
                "n_blocks": len(one.blocks),
                "n_seeds": len(one.seeds),
                "blocks": "; ".join(
                    f"{each.block} {_signed(each.difference, one.score)} {each.verdict}".strip() for each in one.blocks
                ),
                "reference": one.reference,
                "score": one.score.name,
            }
            for one in found
        ],
    )


def _signed(difference: float, score: Score) -> str:
    """Return a difference with its sign, in points where the score is a fraction, else in its unit."""
    return f"{difference * 100:+.2f}" if score.is_fraction else f"{difference:+.3g}"
