"""Test images in groups (a writer's, a patient's): false verdicts, coverage and false ties where the data names them.

Two kinds of truth. *Graded*: how hard an image is, and how hard for an arm, is half its group's and half its own.
*Rare*: the reference is right on all images; an arm fails on some groups alone, on a share of such a group's images
with every seed, and on a few outcomes that are drawn anew. A group that fails may not be among those of the test set.

What was decided beside what would be with another rule: the images' least variance by the number of groups, and ties
by the number of images.
"""

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from turns import markdown

from poolbench.report.statistics.paired import ImageSet, Paired, paired
from poolbench.report.statistics.verdicts import ALPHA, BETTER, TIE, WORSE, decide

MARGIN = 0.005
POINTS = 0.05
LEVEL = 0.95


@dataclass(frozen=True)
class Design:
    """A test set: how many images each group has."""

    name: str
    sizes: tuple[int, ...]

    @property
    def groups(self) -> NDArray[np.int64]:
        """The group of each image, (N,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


# Unequal: from 1 image to 31, and from 10 images to 150.
DESIGNS = (
    Design("600 images, 120 groups of 5", (5,) * 120),
    Design("600 images, 84 unequal groups", (1, 2, 3, 5, 8, 9, 22) * 12),
    Design("600 images, 20 groups of 30", (30,) * 20),
    Design("600 images, 10 groups of 60", (60,) * 10),
    Design("600 images, 10 unequal groups", (10, 15, 20, 30, 45, 60, 70, 90, 110, 150)),
    Design("2,000 images, 100 groups of 20", (20,) * 100),
    Design("10,000 images, 1,000 groups of 10", (10,) * 1000),
)
# A group's share of its images that fail where the group fails.
PARTS = (1.0, 0.1)


def tie_by_images(one: Paired) -> bool:
    """Return whether an arm would be a tie, were images counted and not groups."""
    counted = replace(one, sets=tuple(ImageSet(s.images or s.units, s.weight) for s in one.independent))
    low, high = counted.tie_interval(ALPHA, MARGIN)
    return low >= -MARGIN and high <= MARGIN


def floor_by_groups(one: Paired) -> Paired:
    """Return what was found as if the least variance of the images counted groups."""
    least = sum(replace(s, images=None).least_variance for s in one.independent)
    return replace(one, image_variance=max(one.image_variance, least))


def graded(design: Design, arms: int, seeds: int, truth: float, draw: np.random.Generator) -> list[Paired]:
    """Return the differences to the first arm, which has an accuracy of 90 %; all others have `truth` more."""
    groups, images = design.groups, len(design.groups)

    def normal(*shape: int) -> NDArray:
        return draw.standard_normal(shape, dtype=np.float32)

    def hard(scale: float) -> NDArray:
        return np.float32(scale / np.sqrt(2)) * (normal(len(design.sizes))[groups] + normal(images))

    shared, of_seeds = hard(1.5), np.float32(0.05) * normal(seeds, 1)
    right = []
    for arm in range(arms + 1):
        total = np.sqrt(1 + 1.5**2 + 0.8**2 + 0.05**2 + 0.05**2)
        centre = np.float32(total * ndtri(0.9 + (truth if arm else 0.0)))
        latent = normal(seeds, images)
        latent += shared + hard(0.8) + centre
        latent += of_seeds + np.float32(0.05) * normal(seeds, 1)
        right.append((latent > 0).astype(np.int8))
    return [paired((d := own - right[0]).mean(axis=1), d, groups=groups) for own in right[1:]]


def rare(
    design: Design, arms: int, seeds: int, truth: float, part: float, anew: float, draw: np.random.Generator
) -> list[Paired]:
    """Return the differences to a reference that is always right, of arms that fail on `truth` of all images."""
    groups, images, found = design.groups, len(design.groups), []
    for _ in range(arms):
        fails = (draw.random(len(design.sizes)) < truth / part)[groups] & (draw.random(images) < part)
        d = np.broadcast_to(-fails.astype(np.int8), (seeds, images)).copy()
        again = draw.random((seeds, images), dtype=np.float32) < anew
        d[again] = -(draw.random(int(again.sum())) < truth).astype(np.int8)
        found.append(paired(d.mean(axis=1), d, groups=groups))
    return found


def graded_row(design: Design, arms: int, seeds: int, times: int) -> list[str]:
    """Return families with a false verdict and coverage, equal arms; coverage where all are better by 5 points.

    And how often these are found, as reported and with a least variance by groups.
    """
    draw = np.random.default_rng([seeds, *design.name.encode()])
    alarms = covered = off = better = by_groups = 0
    for _ in range(times):
        found = graded(design, arms, seeds, 0.0, draw)
        alarms += any(one.verdict in (BETTER, WORSE) for one in decide(found, margin=0.0, further=False))
        covered += sum(low <= 0 <= high for low, high in (one.interval(LEVEL) for one in found))
        found = graded(design, arms, seeds, POINTS, draw)
        off += sum(low <= POINTS <= high for low, high in (one.interval(LEVEL) for one in found))
        better += sum(one.verdict == BETTER for one in decide(found, margin=MARGIN, further=False))
        found = [floor_by_groups(one) for one in found]
        by_groups += sum(one.verdict == BETTER for one in decide(found, margin=MARGIN, further=False))
    n = times * arms
    return [f"{100 * alarms / times:.1f}", *(f"{100 * count / n:.1f}" for count in (covered, off, better, by_groups))]


def rare_row(design: Design, part: float, arms: int, seeds: int, anew: float, times: int) -> list[str]:
    """Return what is said of arms that are off by the margin, and by twice that.

    For each: ties by groups, of an arm and of any of a family; ties by images; 95 % intervals that cover.
    """
    draw = np.random.default_rng([int(100 * part), *design.name.encode()])
    cells = []
    for truth in (MARGIN, 2 * MARGIN):
        ties = any_tie = by_image = covered = 0
        for _ in range(times):
            found = rare(design, arms, seeds, truth, part, anew, draw)
            decided = [one.verdict == TIE for one in decide(found, margin=MARGIN, further=False)]
            ties, any_tie = ties + sum(decided), any_tie + any(decided)
            by_image += sum(tie_by_images(one) for one in found)
            covered += sum(low <= -truth <= high for low, high in (one.interval(LEVEL) for one in found))
        n = times * arms
        cells += [f"{100 * ties / n:.2f}", f"{100 * any_tie / times:.1f}", f"{100 * by_image / n:.2f}"]
        cells.append(f"{100 * covered / n:.1f}")
    return cells


def true_ties(design: Design, arms: int, seeds: int, anew: float, times: int) -> list[str]:
    """Return how often equal arms are called a tie, by groups and by images: failures drawn anew are all there is."""
    draw = np.random.default_rng([3, *design.name.encode()])
    groups = design.groups
    ties = by_image = 0
    for _ in range(times):
        wrong = (draw.random((arms + 1, seeds, len(groups)), dtype=np.float32) < anew).astype(np.int8)
        found = [paired((d := wrong[0] - own).mean(axis=1), d, groups=groups) for own in wrong[1:]]
        ties += sum(one.verdict == TIE for one in decide(found, margin=MARGIN, further=False))
        by_image += sum(tie_by_images(one) for one in found)
    n = times * arms
    return [f"{100 * ties / n:.1f}", f"{100 * by_image / n:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="families a row (%(default)s)")
    parser.add_argument("--arms", type=int, default=5, help="beside the reference (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--anew", type=float, default=0.02, help="share of outcomes drawn anew (%(default)s)")
    arguments = parser.parse_args()
    began, times, arms, seeds = time.monotonic(), arguments.times, arguments.arms, arguments.seeds
    print(f"{times:,} families of {arms} arms, {seeds} seeds, groups named; per cent\n")
    heading = [
        "graded truth",
        "equal: any false",
        "equal: 95 % cover",
        f"all {100 * POINTS:g} points better: 95 % cover",
    ]
    heading += ["called better", "with a least variance by groups"]
    print(markdown(heading, [[d.name, *graded_row(d, arms, seeds, times)] for d in DESIGNS]), "\n", flush=True)
    heading = ["rare failures", "of a group's images"]
    for where in ("the margin", "twice the margin"):
        heading += [f"off by {where}: a tie, each arm", f"any of {arms}", "a tie by images", "95 % cover"]
    rows = [
        [d.name, f"{100 * part:g} %", *rare_row(d, part, arms, seeds, arguments.anew, times)]
        for d in DESIGNS
        for part in PARTS
    ]
    print(markdown(heading, rows), "\n", flush=True)
    rows = [[d.name, *true_ties(d, arms, seeds, arguments.anew / 20, times)] for d in DESIGNS]
    print(
        f"equal arms that fail on {100 * arguments.anew / 20:g} % of outcomes, drawn anew for each seed: called a tie\n"
    )
    print(markdown(["equal arms", "by groups, as reported", "by images"], rows), "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
