"""What few seeds promise: chances of a verdict against what fresh runs brought, and by how much 'better' overstates.

Arms differ truly from the reference by amounts drawn anew in each family. After 3 seeds the undecided have a predicted
chance with 5, 10 and 20 seeds; a fresh run of so many seeds on the same images says what came of it. Of one arm that is
better by a point, what was seen where it was called better stands beside.
"""

import argparse
import time

import numpy as np
from simulated import NOISES, Noise, family, outcomes
from turns import markdown

from poolbench.report.statistics.prospects import SEEDS, prospect
from poolbench.report.statistics.verdicts import ALPHA, BETTER, UNDECIDED, decide

MARGIN = 0.005


def chances(noise: Noise, arms: int, first: int, spread: float, times: int) -> list[str]:
    """Return for each number of seeds the mean chance that was predicted, and the share that came true."""
    draw = noise.draw(first, 11)
    predicted, came, promised = np.zeros(len(SEEDS)), np.zeros(len(SEEDS)), np.zeros(len(SEEDS))
    n = 0
    for _ in range(times):
        truth = np.concatenate([[0.0], draw.normal(0, spread, arms - 1)])
        right = outcomes(noise, arms, first + max(SEEDS), truth, draw)
        found = family(right[:, :first])
        decided = decide(found, margin=MARGIN)
        runs = [decide(family(right[:, first : first + seeds]), margin=MARGIN, further=False) for seeds in SEEDS]
        for index, (one, decision) in enumerate(zip(found, decided, strict=True)):
            ahead = prospect(one, level=decision.level, margin=MARGIN, alpha=ALPHA) if one.spreads else None
            if decision.verdict != UNDECIDED or ahead is None:
                continue
            n += 1
            predicted += ahead.chances
            came += [run[index].verdict != UNDECIDED for run in runs]
            promised += [decision.further_seeds is not None and first + decision.further_seeds <= s for s in SEEDS]
    return [f"{100 * p / n:.0f} / {100 * c / n:.0f}" for p, c in zip(predicted, came, strict=True)] + [
        ", ".join(f"{100 * value / n:.0f}" for value in promised)
    ]


def overstated(noise: Noise, arms: int, seeds: int, points: float, times: int) -> str:
    """Return how often an arm that is better by some points is called so, and what it shows then, in points."""
    draw = noise.draw(seeds, 12)
    seen = []
    for _ in range(times):
        found = family(outcomes(noise, arms, seeds, [0.0, points / 100, *[0.0] * (arms - 2)], draw))
        if decide(found, margin=MARGIN, further=False)[0].verdict == BETTER:
            seen.append(100 * found[0].mean)
    return f"{np.mean(seen):.2f} ({100 * len(seen) / times:.0f} %)" if len(seen) >= 10 else "seldom called so"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="families a row (%(default)s)")
    parser.add_argument("--arms", type=int, default=6, help="in a family, the reference among them (%(default)s)")
    parser.add_argument("--spread", type=float, default=1.0, help="of the true differences, points (%(default)s)")
    parser.add_argument("--points", type=float, default=1.0, help="a true difference (%(default)s)")
    parser.add_argument("--most-images", type=int, default=10_000, help="leave out larger test sets (%(default)s)")
    arguments = parser.parse_args()
    began, arms, times = time.monotonic(), arguments.arms, arguments.times
    noises = [noise for noise in NOISES if noise.images <= arguments.most_images]
    rows = [[n.name, *chances(n, arms, 3, arguments.spread / 100, times)] for n in noises]
    print(f"undecided after 3 seeds, true differences of std {arguments.spread:g} points: predicted / came, per cent\n")
    print(markdown(["", *(f"{n} seeds" for n in SEEDS), "`seeds_to_decide` promised"], rows), "\n", flush=True)
    rows = [[n.name, *(overstated(n, arms, s, arguments.points, times) for s in (3, 5, 10))] for n in noises]
    print(f"better by {arguments.points:g} points: what it shows where it is called better (and how often that is)\n")
    print(markdown(["", "3 seeds", "5 seeds", "10 seeds"], rows), "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
