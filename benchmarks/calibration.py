"""Are the verdicts as sure as they say? Simulated records with a known truth, judged as a report judges real ones.

Outcomes are drawn as `simulated.py` says. `--results` prints the same three variance components of the paired
differences for real records, so that a reader sees which of the simulated noises is like theirs.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtrit
from simulated import NOISES, Noise, family, outcomes
from turns import markdown

from poolbench.report.statistics.paired import Paired
from poolbench.report.statistics.verdicts import BETTER, TIE, WORSE, decide

CLEAR = (BETTER, WORSE)
MARGIN = 0.005
LEVEL = 0.95
PARTS = ("noise", "methods", "null", "unequal", "stopping")


def seeds_alone(one: Paired, level: float) -> float:
    """Half-width of Student's t over the seeds."""
    return float(stdtrit(one.n - 1, (1 + level) / 2) * math.sqrt(one.seed_variance))


def satterthwaite(one: Paired, level: float) -> float:
    """Half-width of Student's t with both variances and Satterthwaite's degrees of freedom."""
    squares = sum(variance**2 / df for variance, df in one.parts)
    if not squares:
        return 0.0
    return float(stdtrit(one.se**4 / squares, (1 + level) / 2) * one.se)


def as_reported(one: Paired, level: float) -> float:
    """Half-width as the report has it."""
    low, high = one.interval(level)
    return (high - low) / 2


METHODS: dict[str, Callable[[Paired, float], float]] = {
    "t over seeds": seeds_alone,
    "Satterthwaite": satterthwaite,
    "as reported": as_reported,
}


def methods(noise: Noise, arms: int, seeds: int, times: int) -> list[str]:
    """Return for each method: families with a false alarm by Bonferroni's first step, and coverage, arms all equal."""
    draw = noise.draw(seeds, 1)
    alarms, covered = dict.fromkeys(METHODS, 0), dict.fromkeys(METHODS, 0)
    first = 1 - (1 - LEVEL) / (arms - 1)
    for _ in range(times):
        found = family(outcomes(noise, arms, seeds, [0.0] * arms, draw))
        for name, half in METHODS.items():
            alarms[name] += any(abs(one.mean) > half(one, first) for one in found)
            covered[name] += sum(abs(one.mean) <= half(one, LEVEL) for one in found)
    return [f"{100 * alarms[name] / times:.1f} / {100 * covered[name] / times / (arms - 1):.1f}" for name in METHODS]


def null(noise: Noise, arms: int, seeds: int, times: int) -> list[str]:
    """Return how often arms that are all equal get a verdict, and how often intervals cover."""
    draw = noise.draw(seeds, 2)
    alarms = covered = together = ties = 0
    for _ in range(times):
        found = family(outcomes(noise, arms, seeds, [0.0] * arms, draw))
        decided = decide(found, margin=0.0, further=False)
        alarms += any(one.verdict in CLEAR for one in decided)
        together += all(one.low <= 0 <= one.high for one in decided)
        covered += sum(one.interval(LEVEL)[0] <= 0 <= one.interval(LEVEL)[1] for one in found)
        ties += sum(one.verdict == TIE for one in decide(found, margin=MARGIN, further=False))
    error = 100 * math.sqrt(alarms / times * (1 - alarms / times) / times)
    n = times * (arms - 1)
    return [
        f"{100 * alarms / times:.1f} ± {1.96 * error:.1f}",
        *(f"{100 * covered / n:.1f}", f"{100 * together / times:.1f}", f"{100 * ties / n:.1f}"),
    ]


def unequal(noise: Noise, arms: int, seeds: int, times: int, points: float) -> list[str]:
    """Return what is said of one arm that is better by some points among equal ones, and of all arms when each is."""
    draw = noise.draw(seeds, 3)
    truth = np.zeros(arms)
    truth[1] = points / 100
    spread = np.array([0.0, *(points / 100 * (1 if arm % 2 else -1) for arm in range(1, arms))])
    better = false_ties = wrong = covered = together = 0
    for _ in range(times):
        decided = decide(family(outcomes(noise, arms, seeds, truth, draw)), margin=MARGIN, further=False)
        better += decided[0].verdict == BETTER
        false_ties += decided[0].verdict == TIE
        wrong += any(one.verdict in CLEAR for one in decided[1:]) or decided[0].verdict == WORSE
        found = family(outcomes(noise, arms, seeds, spread, draw))
        covered += sum(
            low <= true <= high
            for (low, high), true in zip((one.interval(LEVEL) for one in found), spread[1:], strict=True)
        )
        together += all(
            one.low <= true <= one.high
            for one, true in zip(decide(found, margin=MARGIN, further=False), spread[1:], strict=True)
        )
    return [
        *(f"{100 * count / times:.1f}" for count in (better, wrong, false_ties)),
        *(f"{100 * covered / times / (arms - 1):.1f}", f"{100 * together / times:.1f}"),
    ]


def stopping(noise: Noise, arms: int, first: int, most: int, times: int) -> list[str]:
    """Return how often equal arms get a verdict at the first look, and at any where seeds are added until one does.

    After each look as many seeds are added as the report says would decide an arm, up to `most`.
    """
    draw = noise.draw(first, 5)
    at_first = at_any = 0
    for _ in range(times):
        right, n = outcomes(noise, arms, most, [0.0] * arms, draw), first
        while True:
            decided = decide(family(right[:, :n]), margin=MARGIN)
            if any(one.verdict in CLEAR for one in decided):
                at_first += n == first
                at_any += 1
                break
            further = [one.further_seeds for one in decided if one.further_seeds]
            if not further or n + min(further) > most:
                break
            n += min(further)
    return [f"{100 * count / times:.1f}" for count in (at_first, at_any)]


def observed(folder: Path) -> list[list[str]]:
    """Return the noise of real records: a row a block, medians over its arms."""
    from poolbench.report.reading.arms import group
    from poolbench.report.reading.loading import load
    from poolbench.report.statistics.comparison import compare_blocks

    loaded = load(folder)
    blocks, _ = group(loaded.records)
    compared = compare_blocks(blocks, loaded.outcomes)
    rows = []
    for block in blocks:
        found = [one for arm in block.arms if (one := compared[arm.arm_id].found) and one.images]
        if found:
            rows.append([f"{folder.name}: {block.title}", *_components(found)])
    return rows


def simulated(noise: Noise, arms: int, seeds: int) -> list[str]:
    """Return the same of simulated records, over 20 families."""
    draw = noise.draw(seeds, 4)
    found = [one for _ in range(20) for one in family(outcomes(noise, arms, seeds, [0.0] * arms, draw))]
    return [noise.name, *_components(found)]


def _components(found: Sequence[Paired]) -> list[str]:
    """Return images, seeds, and medians of the standard deviation over seeds and of both standard errors, in points."""
    of_seeds = 100 * np.median([one.std for one in found])
    se_seeds = 100 * np.median([math.sqrt(one.seed_variance) for one in found])
    se_images = 100 * np.median([math.sqrt(one.image_variance) for one in found])
    return [
        f"{found[0].images:,}",
        str(found[0].n),
        *(f"{value:.2f}" for value in (of_seeds, se_seeds, se_images)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="families a row (%(default)s)")
    parser.add_argument("--arms", type=int, default=6, help="in a family, the reference among them (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 3, 10], help="(%(default)s)")
    parser.add_argument("--points", type=float, default=1.0, help="a true difference (%(default)s)")
    parser.add_argument(
        "--results", type=Path, nargs="*", default=[], help="results folders whose noise is shown beside"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="tables to make (all)")
    arguments = parser.parse_args()
    if arguments.arms < 2 or arguments.times < 1 or min(arguments.seeds) < 2:
        parser.error("at least 2 arms, 1 family and 2 seeds")
    began, arms, times = time.monotonic(), arguments.arms, arguments.times
    print(f"{times:,} families of {arms} arms, one of them the reference; per cent\n")
    if "noise" in arguments.only:
        rows = [row for folder in arguments.results for row in observed(folder)]
        rows += [simulated(noise, arms, arguments.seeds[0]) for noise in NOISES]
        heading = ["noise, points", "images", "seeds", "std over seeds", "se from seeds", "se from images"]
        print(markdown(heading, rows), "\n")
    for seeds in arguments.seeds if "methods" in arguments.only else ():
        print(f"{seeds} seeds, all arms equal: any arm called better or worse / 95 % intervals that cover\n")
        print(markdown(["", *METHODS], [[n.name, *methods(n, arms, seeds, times)] for n in NOISES]), "\n", flush=True)
    for seeds in arguments.seeds if "null" in arguments.only else ():
        print(f"{seeds} seeds, all arms equal\n")
        heading = ["", "any better or worse", "95 % intervals cover", "Holm's cover together", "tie (±0.5 points)"]
        print(markdown(heading, [[n.name, *null(n, arms, seeds, times)] for n in NOISES]), "\n", flush=True)
    for seeds in arguments.seeds if "unequal" in arguments.only else ():
        print(f"{seeds} seeds, one arm better by {arguments.points:g} points; in the last two columns every arm off\n")
        heading = [
            "",
            "called better (power)",
            "any wrong better or worse",
            "tie",
            "95 % cover",
            "Holm's cover together",
        ]
        rows = [[n.name, *unequal(n, arms, seeds, times, arguments.points)] for n in NOISES]
        print(markdown(heading, rows), "\n", flush=True)
    if "stopping" in arguments.only:
        print("3 seeds, and more of them until something is decided, 20 at most; all arms equal: any better or worse\n")
        rows = [[n.name, *stopping(n, arms, 3, 20, times)] for n in NOISES if n.images <= 600]
        print(markdown(["", "at the first look", "at any look"], rows), "\n", flush=True)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
