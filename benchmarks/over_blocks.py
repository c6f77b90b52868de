"""The mean over blocks: false alarms in even and uneven blocks, power, and what committed records say.

Differences of seeds are normal; blocks are even, or one of them varies five or twenty times as much as the others.
Beside the t of the seeds' means with S − 1 degrees of freedom stand the two that were not taken: Welch's degrees of
freedom for the blocks' own variances, and one variance of all blocks.
"""

import argparse
import math
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from turns import markdown

from poolbench.report.statistics.paired import over_sets
from poolbench.report.statistics.verdicts import BETTER, WORSE, decide

SPREADS = {
    "even blocks": (1.0, 1.0, 1.0, 1.0),
    "one five times as uneven": (0.4, 0.4, 0.4, 2.0),
    "one twenty times": (0.2, 0.2, 0.2, 4.0),
    "all unlike": (0.2, 0.6, 1.2, 2.4),
}


def drawn(spread: tuple[float, ...], arms: int, seeds: int, truth: float, draw: np.random.Generator) -> NDArray:
    """Return the differences of arms to their reference, points, (arms, blocks, seeds); the first arm's is `truth`."""
    each = np.array(spread)[None, :, None] / math.sqrt(2)
    x = draw.standard_normal((arms + 1, len(spread), seeds)) * each
    d = x[1:] - x[0]
    d[0] += truth
    return d


def rejected(d: NDArray, tail: float, method: str) -> bool:
    """Return whether a method that was not taken calls the mean over the blocks different from 0."""
    blocks, seeds = d.shape
    variances = d.var(axis=1, ddof=1) / seeds / blocks**2
    total = variances.sum()
    df = total**2 / (variances**2 / (seeds - 1)).sum() if method == "Welch" else blocks * (seeds - 1)
    return bool(abs(d.mean()) > -stdtrit(df, tail) * math.sqrt(total))


def row(spread: tuple[float, ...], arms: int, seeds: int, times: int, points: float) -> list[str]:
    """Return false alarms by three methods; how often one arm off by `points` is found: over, and in every block."""
    draw = np.random.default_rng([seeds, *(int(100 * value) for value in spread)])
    alarms, welch, pooled, found, everywhere = 0, 0, 0, 0, 0
    for _ in range(times):
        d = drawn(spread, arms, seeds, 0.0, draw) / 100
        alarms += any(one.verdict in (BETTER, WORSE) for one in _decided(d))
        welch += any(rejected(own, 0.025 / arms, "Welch") for own in d)
        pooled += any(rejected(own, 0.025 / arms, "pooled") for own in d)
    some = max(times // 4, 1)
    for _ in range(some):
        d = drawn(spread, arms, seeds, points, draw) / 100
        found += _decided(d)[0].verdict == BETTER
        everywhere += all(_decided(d[:, [block]])[0].verdict == BETTER for block in range(d.shape[1]))
    return [
        *(f"{100 * number / times:.1f}" for number in (alarms, welch, pooled)),
        *(f"{100 * number / some:.1f}" for number in (found, everywhere)),
    ]


def _decided(d: NDArray) -> list:
    return decide([over_sets(own.mean(axis=0), ()) for own in d], margin=0.0, further=False)


def recorded(folder: Path) -> list[list[str]]:
    """Return what records say over their blocks, with images shared by data sets and taken as independent."""
    from poolbench.report.reading.arms import group
    from poolbench.report.reading.loading import load
    from poolbench.report.statistics.comparison import compare_blocks
    from poolbench.report.statistics.over_blocks import over_blocks

    loaded = load(folder)
    blocks, _ = group(loaded.records)
    compared = compare_blocks(blocks, loaded.outcomes)
    both = [over_blocks(blocks, compared, loaded.outcomes, share_images=share) for share in (False, True)]
    rows = []
    for apart, shared in zip(*both, strict=True):
        cells = [apart.variant]
        for one in (apart, shared):
            found, decision = one.compared.found, one.compared.decision
            if found is None or decision is None:
                cells += ["", ""]
                continue
            low, high = found.interval(0.95)
            cells += [f"{100 * found.mean:+.2f} ± {50 * (high - low):.2f}", f"{decision.p_holm:.4f}"]
        rows.append([*cells, shared.compared.verdict])
    return rows


def archived(archive: Path) -> list[list[str]]:
    """Return the same of a results folder that is packed."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
        return recorded(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="families a row (%(default)s)")
    parser.add_argument("--arms", type=int, default=5, help="beside the reference (%(default)s)")
    parser.add_argument("--points", type=float, default=1.0, help="a true difference (%(default)s)")
    parser.add_argument(
        "--results", type=Path, nargs="*", default=[], help="results folders, or archives of one, that are shown, too"
    )
    arguments = parser.parse_args()
    began = time.monotonic()
    for folder in arguments.results:
        heading = ["arm", "images independent", "p, Holm", "images shared", "p, Holm", "verdict"]
        print(f"{folder}: difference over blocks, points, ± half its own 95 % interval\n")
        print(markdown(heading, archived(folder) if folder.is_file() else recorded(folder)), "\n", flush=True)
    found = f"{arguments.points:g} point{'s' * (arguments.points != 1)} found"
    heading = ["4 blocks", "seeds", "any false", "Welch: any false", "one variance: any false", found, "in every block"]
    rows = [
        [name, str(seeds), *row(spread, arguments.arms, seeds, arguments.times, arguments.points)]
        for name, spread in SPREADS.items()
        for seeds in (3, 5)
    ]
    print(f"{arguments.times:,} families of {arguments.arms} arms in 4 blocks; one better by {arguments.points:g}; %\n")
    print(markdown(heading, rows), "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
