"""Paired differences in test accuracy of precisions and memory formats, from the records of `experiment=precision`.

Equal seeds share split, order, augmentation and starting weights; only the arithmetic differs. Printed are the mean
difference to float32, contiguous, in points, and its 95 % interval (Student's t over the seeds).

    poolbench train experiment=precision
    python benchmarks/precision.py results/precision
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from poolbench.record import read_records

BASE = ("float32", "contiguous")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/precision"))
    folder = parser.parse_args().folder
    records, problems = read_records(folder)
    accuracy: dict[str, dict[tuple[str, str], dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        if record["status"] == "ok":
            protocol = record["config"]["protocol"]
            block = f"{record['labels']['backbone']} on {record['labels']['dataset']}"
            how = (protocol["precision"], protocol["memory_format"])
            accuracy[block][how][record["seed"]] = 100 * record["metrics"]["test_accuracy"]
    if not accuracy:
        parser.error(f"no finished record in {folder}: run `poolbench train experiment=precision` first")
    table = Table(title="test accuracy, paired by seed", title_justify="left")
    for name in ("block", "precision", "memory format", "n", "accuracy %", "difference, points", "95 % interval"):
        table.add_column(name, no_wrap=True)
    for block, arms in accuracy.items():
        for how, by_seed in arms.items():
            shared = sorted(set(by_seed) & set(arms[BASE]))
            difference = np.array([by_seed[seed] - arms[BASE][seed] for seed in shared])
            told = ("–", "–") if how == BASE else _interval(difference)
            table.add_row(block, *how, str(len(by_seed)), f"{np.mean(list(by_seed.values())):.2f}", *told)
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)
    for problem in problems:
        print(f"left out: {problem.path}: {problem.reason}")


def _interval(difference: np.ndarray) -> tuple[str, str]:
    mean, count = difference.mean(), len(difference)
    if count < 2 or not difference.std():
        return f"{mean:+.2f}", "–"
    low, high = stats.t.interval(0.95, count - 1, loc=mean, scale=difference.std(ddof=1) / np.sqrt(count))
    return f"{mean:+.2f}", f"{low:+.2f} … {high:+.2f}"


if __name__ == "__main__":
    main()
