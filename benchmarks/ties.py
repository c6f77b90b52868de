"""Ties: how often arms that differ are called one, and how often equal arms are.

Two arms that are nearly always right, and fail on images of their own: the reference on none, the arm on a share of
`difference` of them. A failure stays with every seed but for a share of outcomes drawn anew. Beside the verdicts as
reported stand those of before: the interval after Holm, without any least variance of the images.
"""

import argparse
import math
import time

import numpy as np
from numpy.typing import NDArray
from turns import markdown

from poolbench.report.statistics.paired import Paired, half_width, paired
from poolbench.report.statistics.verdicts import TIE, decide, holm

MARGIN = 0.005


def failing(share: float, anew: float, seeds: int, images: int, draw: np.random.Generator) -> NDArray:
    """Return whether an arm that fails on a share of the images is right, (seeds, images)."""
    right = np.broadcast_to(draw.random(images, dtype=np.float32) >= share, (seeds, images)).copy()
    again = draw.random((seeds, images), dtype=np.float32) < anew
    right[again] = draw.random(int(again.sum())) >= share
    return right.astype(np.int8)


def before(family: list[Paired], ds: list[NDArray], alpha: float = 0.05) -> list[bool]:
    """Return which arms were called a tie before there was a least variance, by Holm's levels."""
    plain = [paired(d.mean(axis=1), d, binary=False) for d in ds]
    tested = [one for one in plain if not math.isnan(one.p)]
    levels = iter(holm([one.p for one in tested], alpha)[1])
    found = []
    for one in plain:
        if math.isnan(one.p):
            found.append(False)
            continue
        low, high = one.interval(next(levels))
        found.append(low >= -MARGIN and high <= MARGIN)
    return found


def edge(images: int, anew: float, difference: float, arms: int, seeds: int, times: int) -> list[str]:
    """Return how often an arm is called a tie, and any of a family: as reported, and before."""
    draw = np.random.default_rng([images, int(1000 * anew), int(10_000 * difference)])
    now = then = any_now = 0
    for _ in range(times):
        reference = failing(0.0, 0.0, seeds, images, draw)
        ds = [failing(difference, anew, seeds, images, draw) - reference for _ in range(arms)]
        family = [paired(d.mean(axis=1), d) for d in ds]
        ties = [one.verdict == TIE for one in decide(family, margin=MARGIN, further=False)]
        now, any_now, then = now + sum(ties), any_now + any(ties), then + sum(before(family, ds))
    n = times * arms
    return [f"{100 * now / n:.2f}", f"{100 * any_now / times:.1f}", f"{100 * then / n:.2f}"]


def true_ties(std: float, seeds: int, arms: int, times: int) -> list[str]:
    """Return how often equal arms, whose accuracies vary by `std` from seed to seed, are called a tie; and before."""
    draw = np.random.default_rng(7)
    now = then = 0
    for _ in range(times):
        x = draw.normal(0, std, (arms + 1, seeds))
        family = [paired(own - x[0]) for own in x[1:]]
        decided = decide(family, margin=MARGIN, further=False)
        now += sum(one.verdict == TIE for one in decided)
        then += sum(
            abs(one.mean) + half_width(one.parts, found.level) <= MARGIN
            for one, found in zip(family, decided, strict=True)
        )
    n = times * arms
    return [f"{100 * now / n:.1f}", f"{100 * then / n:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="families a row (%(default)s)")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 300, 600, 1000, 10_000], help="(%(default)s)")
    parser.add_argument("--arms", type=int, default=5, help="beside the reference (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="(%(default)s)")
    arguments = parser.parse_args()
    began, times, arms, seeds = time.monotonic(), arguments.times, arguments.arms, arguments.seeds
    rows = []
    for images in arguments.images:
        for anew in (0.0, 0.02, 0.3):
            row = [f"{images:,}", f"{100 * anew:g} %"]
            for difference in (MARGIN, 2 * MARGIN):
                row += edge(images, anew, difference, arms, seeds, times)
            rows.append(row)
    heading = ["images", "outcomes drawn anew"]
    for where in ("the margin", "twice the margin"):
        heading += [f"off by {where}: a tie, each arm", f"any of {arms}", "before"]
    print(f"{times:,} families of {arms} arms that differ, {seeds} seeds: called a tie, per cent\n")
    print(markdown(heading, rows), "\n", flush=True)
    rows = [[f"{100 * std:g}", *true_ties(std, seeds, arms, times)] for std in (0.001, 0.002, 0.003, 0.005)]
    print(f"{arms} equal arms, {seeds} seeds, seeds alone: called a tie, per cent\n")
    print(markdown(["std of an accuracy, points", "as reported", "before (Holm's interval)"], rows), "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
