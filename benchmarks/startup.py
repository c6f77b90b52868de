"""From the start of a process to its first training step; a further cell in the same process; `--help` and `list`.

`poolbench train` runs with a pooling that ends the process when the first gradient comes back to it, so that
composing, checking, loading the data, building and Lightning's set-up are all in the time. Beside it stands a process
that imports torch, lightning and hydra and does nothing. They take turns.

Two more take turns by themselves, a fresh process each time: `import torch`, and `import poolbench.pooling`, which
imports torch first. Their ratio is what the operators cost a program that only borrows them.

A further cell is measured by a sweep of several seeds against one of a single seed: what each seed more takes, less
the training itself as its record tells it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from turns import in_turns, markdown, ratio, shown

from poolbench.measure.machine import machine
from poolbench.measure.timing import median_interval

HERE = Path(__file__).resolve().parent
POOLBENCH = [sys.executable, "-m", "poolbench"]
CELL = ["backbone=slides", "dataset=translated_digits", "trainer=cpu", "speed.measure=false", "name=startup"]
IMPORTS = ["import torch", "import poolbench.pooling"]


def seconds(command: Sequence[str]) -> float:
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return time.time() - began


def to_first_step(folder: Path) -> float:
    # A folder each: a cell whose process ended three times counts as failed.
    results = Path(tempfile.mkdtemp(dir=folder))
    told = results / "first_step"
    command = [
        *POOLBENCH,
        "train",
        *CELL,
        "protocol.batch_size=128",  # by which the pooling knows a step that is trained
        "pooling.downsample._target_=first_step.FirstStepPool2d",
        f"results_dir={results}",
    ]
    paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    began = time.time()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "FIRST_STEP_FILE": str(told), "PYTHONPATH": paths},
    )
    if not told.is_file():
        sys.exit(f"no training step was reached:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return float(told.read_text()) - began


def sweep(folder: Path, seeds: int) -> tuple[float, float]:
    """Return seconds of a whole sweep of so many seeds, and of its cells' training as their records tell it."""
    results = folder / f"sweep-{seeds}"
    wall = seconds(
        [
            *POOLBENCH,
            "train",
            *CELL,
            "protocol.epochs=1",
            f"seed=range(0,{seeds})",
            f"results_dir={results}",
            "force=true",
        ]
    )
    records = [json.loads(path.read_text()) for path in results.glob("startup/records/*/record.json")]
    return wall, sum(record["times"]["train_s"] for record in records)


def imports(rounds: int) -> dict[str, list[float]]:
    """Return seconds of fresh processes that import torch alone and the operators, in turns."""
    return in_turns(IMPORTS, lambda line: seconds([sys.executable, "-c", line]), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each, after one to warm up (%(default)s)")
    parser.add_argument("--imports", type=int, default=20, help="turns of the two imports, after one (%(default)s)")
    parser.add_argument("--seeds", type=int, default=9, help="of the longer sweep (%(default)s)")
    parser.add_argument("--sweeps", type=int, default=3, help="pairs of sweeps (%(default)s)")
    arguments = parser.parse_args()
    imported = imports(arguments.imports)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rivals = {
            "process to first training step": lambda: to_first_step(folder),
            "import torch, lightning, hydra": lambda: seconds(
                [sys.executable, "-c", "import torch, lightning.pytorch, hydra"]
            ),
            "poolbench --help": lambda: seconds([*POOLBENCH, "--help"]),
            "poolbench list": lambda: seconds([*POOLBENCH, "list"]),
            "poolbench train pooling=maxx (a usage error)": lambda: usage_error(),
        }
        times = in_turns(list(rivals), lambda name: rivals[name](), arguments.rounds)
        pairs = [(sweep(folder, 1), sweep(folder, arguments.seeds)) for _ in range(arguments.sweeps)]
    further = [((many - one) - (many_s - one_s)) / (arguments.seeds - 1) for (one, one_s), (many, many_s) in pairs]
    own = [many_s / arguments.seeds for _, (_, many_s) in pairs]
    print(f"{machine()['machine']}, {machine()['cores']} cores; medians with 95 % intervals\n")
    rows = [[name, shown(median_interval(taken))] for name, taken in [*times.items(), *imported.items()]]
    rows.append(["a further cell beyond its own training", f"{statistics.median(further):.2f}"])
    rows.append(["(its own training, an epoch)", f"{statistics.median(own):.2f}"])
    print(markdown(["", "seconds"], rows))
    torchs, own_imports = (imported[line] for line in IMPORTS)
    print(f"\n{IMPORTS[1]} / {IMPORTS[0]}: {shown(ratio(own_imports, torchs))}")


def usage_error() -> float:
    began = time.time()
    done = subprocess.run([*POOLBENCH, "train", "pooling=maxx"], capture_output=True, text=True)
    if done.returncode != 2:
        sys.exit(f"a usage error ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return time.time() - began


if __name__ == "__main__":
    main()
