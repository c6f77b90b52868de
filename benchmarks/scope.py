"""What a verdict is not about: another training set, images in groups, failures that are rare.

Coverage of 95 % intervals where arms are equal over all training sets, but on this one differ by as much as a seed's
worth; where test images come in clusters, with the clusters named and not; and how often five seeds see no failure of
an arm that fails in one of ten.
"""

import argparse
import math
import time

import numpy as np
from turns import markdown

from poolbench.report.statistics.paired import paired


def training_set(seeds: int, share: float, times: int) -> str:
    """Return the coverage where the training set moves all seeds' difference by `share` times what a seed does."""
    draw = np.random.default_rng([seeds, int(100 * share)])
    covered = 0
    for _ in range(times):
        low, high = paired(draw.normal(share * draw.standard_normal(), 1.0, seeds) / 100).interval(0.95)
        covered += low <= 0 <= high
    return f"{100 * covered / times:.1f}"


def clusters(size: int, images: int, seeds: int, times: int) -> list[str]:
    """Return the coverage with clusters that are not named, and named."""
    draw = np.random.default_rng([size, images, seeds])
    groups = np.arange(images) // size
    number = int(groups[-1]) + 1
    covered = {False: 0, True: 0}
    for _ in range(times):
        hard = draw.standard_normal(number)[groups]
        right = [
            hard + draw.standard_normal(number)[groups] + 0.7 * draw.standard_normal((seeds, images)) > -1.5
            for _ in range(2)
        ]
        d = right[1].astype(np.int8) - right[0].astype(np.int8)
        for named in covered:
            low, high = paired(d.mean(axis=1), d, groups=groups if named else None).interval(0.95)
            covered[named] += low <= 0 <= high
    return [f"{100 * covered[named] / times:.1f}" for named in (False, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2000, help="differences a row (%(default)s)")
    arguments = parser.parse_args()
    began, times = time.monotonic(), arguments.times
    rows = [[f"{share:g}", *(training_set(seeds, share, times) for seeds in (3, 5, 10))] for share in (0, 0.5, 1, 2)]
    print("a training set that matters so many times as much as a seed: coverage of 95 %\n")
    print(markdown(["times", "3 seeds", "5 seeds", "10 seeds"], rows), "\n", flush=True)
    rows = [[f"{size}", *clusters(size, 600, 5, times)] for size in (1, 2, 5, 10)]
    print("600 images in clusters, 5 seeds: coverage of 95 %\n")
    print(markdown(["images a cluster", "not named", "named"], rows), "\n", flush=True)
    rows = [[f"{n}", f"{100 * math.pow(0.9, n):.0f} %"] for n in (3, 5, 10, 20)]
    print("an arm that fails in one seed of ten: all of so many finish\n")
    print(markdown(["seeds", "none fails"], rows), "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
