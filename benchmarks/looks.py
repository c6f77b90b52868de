"""Looks: false alarms, power and cells saved of seeds added in declared rounds, against seeds added one by one.

Accuracies are normal, a family has five arms beside its reference. As declared: 3, 5, 10 and 20 seeds at α = 0.005,
0.01, 0.015 and 0.02. One by one: at each number of seeds from 3 to
20 all arms are judged at 0.05, until any is decided.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
from turns import markdown

from poolbench.declared import LOOKS
from poolbench.report.statistics.declared_looks import Followed, Looked, look
from poolbench.report.statistics.paired import paired
from poolbench.report.statistics.verdicts import BETTER, TIE, WORSE, decide

ORDER = tuple(range(LOOKS[-1].seeds))
CLEAR = (BETTER, WORSE)


def saved(looked: Sequence[Looked]) -> float:
    """Return the share of cells that the looks saved, of those of all arms and the reference with all seeds.

    >>> saved([Looked("better", None, 3, 0.005, None), Looked("undecided", None, 20, 0.02, None)])
    0.2833333333333333
    """
    ran = [one.seeds for one in looked]
    return 1 - (sum(ran) + max(ran, default=0)) / (LOOKS[-1].seeds * (len(ran) + 1)) if ran else 0.0


def row(truth: list[float], std: float, margin: float, times: int) -> list[str]:
    """Return families with a false verdict, arms that differ and were found, arms called a tie, and cells saved."""
    draw = np.random.default_rng([len(truth), *(int(1e4 * abs(value)) for value in truth), int(1e5 * std)])
    wrong = found = ties = 0
    cells = 0.0
    differ = sum(value != 0 for value in truth)
    for _ in range(times):
        x = draw.normal(0, std, (len(truth) + 1, len(ORDER)))
        d = x[1:] - x[0] + np.array(truth)[:, None]
        looked = look([Followed(ORDER, own) for own in d], ORDER, margin=margin)
        right = [BETTER if value > 0 else WORSE for value in truth]
        wrong += any(
            one.verdict in CLEAR and (not value or one.verdict != clear)
            for one, value, clear in zip(looked, truth, right, strict=True)
        )
        found += sum(bool(v) and one.verdict == c for one, v, c in zip(looked, truth, right, strict=True))
        ties += sum(one.verdict == TIE for one in looked)
        cells += saved(looked)
    return [
        f"{100 * wrong / times:.1f}",
        f"{100 * found / times / differ:.0f}" if differ else "",
        f"{100 * ties / times / len(truth):.1f}",
        f"{100 * cells / times:.0f}",
    ]


def one_by_one(arms: int, std: float, times: int) -> str:
    """Return families of equal arms with a false verdict where seeds are added one by one."""
    draw = np.random.default_rng(arms)
    wrong = 0
    for _ in range(times):
        x = draw.normal(0, std, (arms + 1, len(ORDER)))
        d = x[1:] - x[0]
        wrong += any(
            one.verdict in CLEAR
            for n in range(LOOKS[0].seeds, len(ORDER) + 1)
            for one in decide([paired(own[:n]) for own in d], margin=0.0, further=False)
        )
    return f"{100 * wrong / times:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="families a row (%(default)s)")
    parser.add_argument("--std", type=float, default=0.6, help="of an arm's accuracy over seeds, points (%(default)s)")
    parser.add_argument("--margin", type=float, default=0.5, help="of a tie, points (%(default)s)")
    arguments = parser.parse_args()
    began, times, std, margin = time.monotonic(), arguments.times, arguments.std / 100, arguments.margin / 100
    truths = {
        "all equal": [0.0] * 5,
        "one better by 1 point": [0.01, 0, 0, 0, 0],
        "all off by 1 point": [0.01, -0.01, 0.01, -0.01, 0.01],
        "all off by 3 points": [0.03, -0.03, 0.03, -0.03, 0.03],
        "all at the margin": [margin, -margin, margin, -margin, margin],
    }
    rows = [[name, *row(truth, std, margin, times)] for name, truth in truths.items()]
    print(f"{times:,} families of 5 arms, std over seeds {arguments.std:g} points; per cent\n")
    print(
        markdown(["5 arms", "any false better or worse", "found, an arm", "tie, an arm", "cells saved"], rows),
        "\n",
        flush=True,
    )
    print(f"all equal, seeds one by one: {one_by_one(5, std, times)} % of families with a false verdict")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
