"""What a sweep costs beside its training: a claim, a thousand finished cells that are skipped, workers side by side.

The thousand cells are made, not trained: one is, and its record stands for the others under their own names. Workers:
one seed of the quickstart, by two workers with one thread each and by one with two threads, in turns.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import in_turns, ratio, shown

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import composing
from poolbench.cli.sources import asked_for
from poolbench.record import RECORD_FILE, read_record, write_record
from poolbench.sweep.asked import SweepSettings
from poolbench.sweep.claims import Claims
from poolbench.sweep.plan import PlanFolder, PlannedSweep


def claims(count: int) -> str:
    """Return what a claim and giving it back take."""
    with tempfile.TemporaryDirectory() as folder:
        seen = Claims(Path(folder))
        times = []
        for number in range(count):
            began = time.perf_counter()
            claim = seen.take(f"cell-{number}")
            assert claim is not None
            claim.release()
            times.append(time.perf_counter() - began)
    median, most = statistics.median(times), sorted(times)[int(0.99 * count)]
    return f"claimed and given back: {1e3 * median:.2f} ms a cell (99 of 100 within {1e3 * most:.2f} ms)"


def skipped(count: int, top: Path) -> list[str]:
    """Return how long a command takes whose cells are all finished."""
    common = ["dataset=digits", "trainer=cpu", "protocol.epochs=1", "speed.measure=false", "threads=1"]
    arguments = ["pooling=avg", f"seed=range(0,{count})", *common, f"results_dir={top}"]
    first = [sys.executable, "-m", "poolbench", "train", "pooling=avg", "seed=0", *common, f"results_dir={top}"]
    subprocess.run(first, check=True, capture_output=True)
    plan = PlanFolder(top / "adhoc")
    made, composed_s = _plan(arguments, plan)
    for cell in made[1:]:
        shutil.copytree(made[0], cell)
    content = read_record(made[0] / RECORD_FILE)
    for folder in made:
        seed = int(folder.name.rpartition("-s")[2].partition("-")[0])
        config = {**content["config"], "seed": seed}
        write_record(folder / RECORD_FILE, {**content, "run_id": folder.name, "seed": seed, "config": config})
    began = time.perf_counter()
    done = subprocess.Popen(
        [sys.executable, "-m", "poolbench", "train", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert done.stderr
    said = next(line for line in done.stderr if "finished before" in line)
    skipped_s = time.perf_counter() - began
    done.communicate()
    whole_s = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, hydra"], check=True)
    imports_s = time.perf_counter() - began
    return [
        said.strip(),
        f"composed for the first time: {composed_s:.1f} s",
        f"skipped: {skipped_s:.1f} s from the command's start, {imports_s:.1f} s of them `import torch, hydra`",
        f"with the report of all of them: {whole_s:.1f} s",
    ]


def workers(rounds: int, top: Path) -> str:
    """Return how long two workers with one thread each take beside one worker with two threads."""
    rivals = {
        "two workers, a thread each": ["launcher=processes", "launcher.workers=2", "threads=1"],
        "one worker, two threads": ["launcher=local", "threads=2"],
    }

    def seconds(name: str) -> float:
        folder = tempfile.mkdtemp(dir=top)
        command = ["experiment=quickstart", "seed=0", "speed.measure=false", f"results_dir={folder}", *rivals[name]]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "poolbench", "train", *command], check=True, capture_output=True)
        return time.perf_counter() - began

    taken = in_turns(list(rivals), seconds, rounds)
    two, one = (statistics.median(taken[name]) for name in rivals)
    beside = shown(ratio(*(taken[name] for name in rivals)))
    return f"12 cells of the quickstart: two workers {two:.0f} s, one with two threads {one:.0f} s, ratio {beside}"


def _plan(arguments: list[str], plan: PlanFolder) -> tuple[list[Path], float]:
    """Compose and plan the cells, and return their records' folders and the seconds."""
    from poolbench.sweep.planning import plan_cells

    began = time.perf_counter()
    line = CommandLine.of("train", arguments)
    with composing(line) as composer:
        first = composer.job(composer.overrides[0])
        settings = SweepSettings.of([first.config], line.words)
        asked, _ = asked_for(composer, first, plan)
    seconds = time.perf_counter() - began
    made = plan_cells(asked, settings.cell)
    sweep = PlannedSweep(tuple(one.run_id for one in made.cells), 1, settings.allocator)
    plan.write(sweep, [one.frozen() for one in made.cells])
    return [one.folder for one in made.cells], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--claims", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=0, help="of workers side by side (%(default)s: none)")
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if known.rounds:
            print(workers(known.rounds, Path(folder)))
    os.environ["OMP_NUM_THREADS"] = "1"
    print(claims(known.claims))
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(skipped(known.cells, Path(folder))))


if __name__ == "__main__":
    main()
