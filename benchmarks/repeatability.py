"""How well a ratio repeats: the same bench again and again, a process each, as a user would run it.

Successive benches are compared: how many of these pairs agree within so many percent. What differs between two
processes (where memory lies, what the machine did meanwhile) is in it, which no interval of one bench can know.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from turns import markdown

from poolbench.measure.machine import machine


def bench(arguments: argparse.Namespace, file: Path) -> list[dict[str, str]]:
    command = [
        *(sys.executable, "-m", "poolbench", "bench", *arguments.overrides),
        *("--batch-sizes", arguments.batch_sizes, "--budget", str(arguments.budget)),
        *("--half-width", str(arguments.half_width), "--threads", str(arguments.threads), "--csv", str(file)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["backbone=slides", "pooling=avg_topk"], help="(%(default)s)")
    parser.add_argument("--times", type=int, default=10, help="benches, after one to warm up (%(default)s)")
    parser.add_argument("--batch-sizes", default="128", help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(%(default)s)")
    parser.add_argument(
        "--budget", type=float, default=10.0, help="seconds for each measurement, at most (%(default)s)"
    )
    parser.add_argument("--half-width", type=float, default=0.01, help="at which one ends (%(default)s)")
    parser.add_argument("--within", type=float, default=2.0, help="percent (%(default)s)")
    arguments = parser.parse_args()
    print(f"{machine()['machine']}, {machine()['cores']} cores, load {os.getloadavg()[0]:.1f}; ~ not settled\n")
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    shown: dict[tuple[str, ...], list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(arguments.times + 1):
            for row in bench(arguments, Path(folder) / "speed.csv"):
                if turn and not row["reason"] and row["ratio_ci95_low"]:
                    key = (row["backbone"], row["variant"], row["reference"], row["quantity"], row["batch_size"])
                    ratios[key].append(float(row["ratio"]))
                    shown[key].append(f"{'' if row['settled'] == 'True' else '~'}{float(row['ratio']):.3f}")
    rows = []
    for key, found in ratios.items():
        apart = [100 * abs(later / earlier - 1) for earlier, later in pairwise(found)]
        near = sum(each <= arguments.within for each in apart)
        spread = 100 * (max(found) / min(found) - 1)
        rows.append([" · ".join(key), f"{near} of {len(apart)}", f"{spread:.1f} %", " ".join(shown[key])])
    print(markdown(["", f"successive within {arguments.within:g} %", "largest / smallest", "ratios"], rows))


if __name__ == "__main__":
    main()
