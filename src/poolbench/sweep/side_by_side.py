"""Workers side by side on this machine, each a process of its own that takes cells from the written plan."""

import os
import subprocess
import sys
from pathlib import Path

from poolbench.sweep.plan import PlannedSweep
from poolbench.sweep.process import log


def run_side_by_side(folder: Path, sweep: PlannedSweep, workers: int | None) -> None:
    """Start the workers and wait for them; what each cell left is read from the records.

    Args:
        folder: the experiment's, with its plan.
        sweep: whose cells.
        workers: how many; None: one for each processor.
    """
    count = min(workers or os.cpu_count() or 1, len(sweep.run_ids))
    command = [sys.executable, "-m", "poolbench", "work", str(folder), "--sweep", sweep.id]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        for process in processes:
            if process.wait() != 0:
                log.error("a worker ended with status %d", process.returncode)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.wait()
