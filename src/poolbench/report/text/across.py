"""The verdict over data sets in sentences."""

import math

from poolbench.report.reading.comparability import shortened
from poolbench.report.statistics.across import Across, Pair
from poolbench.report.statistics.profiles import POINT, share_within
from poolbench.report.text.values import p_equals_text

MOST_NAMED = 8


def across_words(over: Across) -> list[str]:
    """Return the verdict over data sets, a sentence each; what was left out is in `left_out`."""
    if not over.variants:
        return []
    return [
        _ranking(over),
        *_differ(over),
        *_separated(over),
        *_improvements(over),
        *_nearness(over),
    ]


def _ranking(over: Across) -> str:
    ranked = [f"{name} {rank:.2f}" for name, rank in zip(over.variants, over.average_ranks, strict=True)]
    blocks = f" ({over.n_blocks} blocks, the backbones of a data set averaged first)"
    return (
        f"Over {len(over.datasets)} data sets{blocks if over.n_blocks > len(over.datasets) else ''}, "
        f"average rank of {len(over.variants)} variants, 1 being best: {shortened(ranked, MOST_NAMED)}."
    )


def _differ(over: Across) -> list[str]:
    found = over.friedman
    if found is None:
        return []
    f = (
        f"F = {found.f:.2f} with {found.df[0]} and {found.df[1]} degrees of freedom, {p_equals_text(found.p_f)}"
        if math.isfinite(found.f)
        else "every data set ranks them alike"
    )
    return [
        f"Friedman's test {'shows that the variants differ' if found.rejects else 'shows no difference'}: "
        f"{p_equals_text(found.p)} by {'all' if found.exact else 'random'} rearrangements of the ranks "
        f"(χ² = {found.chi2:.2f}, {p_equals_text(found.p_chi2)}; {f})."
    ]


def _separated(over: Across) -> list[str]:
    sentences = []
    if over.friedman is not None and over.friedman.rejects:
        apart = [_named(over, pair) for pair in over.pairs if over.apart_nemenyi(pair)]
        sentences.append(
            f"Nemenyi's test separates average ranks that are at least {over.critical_difference:.2f} apart: "
            + (f"{shortened(apart)}." if apart else "none are.")
        )
    if any(pair.p_holm is not None for pair in over.pairs):
        apart = [_signed(over, pair) for pair in over.pairs if over.apart_wilcoxon(pair)]
        n = len(over.pairs)
        sentences.append(
            f"Wilcoxon's test with Holm's correction for {n} pair{'s' * (n != 1)} finds differences: "
            + (f"{shortened(apart)}." if apart else "none.")
        )
    return sentences


def _named(over: Across, pair: Pair) -> str:
    return f"{over.variants[pair.first]} above {over.variants[pair.second]}"


def _signed(over: Across, pair: Pair) -> str:
    # The test may favour the arm of worse average rank: it weighs differences, and knows these two arms alone.
    turned = pair.signed_rank is not None and pair.signed_rank.negative > pair.signed_rank.positive
    return _named(over, Pair(pair.second, pair.first) if turned else pair)


def _improvements(over: Across) -> list[str]:
    found = sorted(over.improvement.items(), key=lambda item: (-item[1].probability, item[0]))
    chances = [
        f"{name} {100 * one.probability:.0f} %"
        + ("" if not one.low < one.high else f" ({100 * one.low:.0f} to {100 * one.high:.0f})")
        for name, one in found
    ]
    if not chances:
        return []
    sentence = (
        f"Chance that a run is better than a run of {over.reference} with another seed: "
        f"{shortened(chances, MOST_NAMED)}."
    )
    if not any(one.low < one.high for _, one in found):
        return [sentence]
    return [f"{sentence} The intervals cover other seeds on the same data sets."]


def _nearness(over: Across) -> list[str]:
    if over.score is None or not over.score.is_fraction:
        return []
    shares = share_within(over.gaps, POINT)
    near = [name for name, share in zip(over.variants, shares, strict=True) if share == 1.0]
    return [f"Within 1 point of the best on every data set: {shortened(near) if near else 'none'}."]
