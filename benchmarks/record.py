"""Run benchmarks and keep what they printed, with machine, date and versions: what pages of docs/ are made of.

    python benchmarks/record.py training audit     # those two; without a name, all of figures.yaml (about an hour)
    python docs/make_performance.py                # makes docs/performance.md
    python benchmarks/record.py ties               # of simulations.yaml, which are run by name alone
    python docs/make_statistics.py                 # puts their tables into docs/statistics.md

Nothing else should run meanwhile where time is measured; the load of the machine before a benchmark is kept with its
figures.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from poolbench.measure.machine import machine, revision
from poolbench.whole_file import replacing

TOP = Path(__file__).resolve().parent.parent
KEPT = TOP / "docs" / "performance"
FIGURES = Path(__file__).with_name("figures.yaml")
KEPT_SIMULATIONS = TOP / "docs" / "simulations"
SIMULATIONS = Path(__file__).with_name("simulations.yaml")


def arguments_of(command: str) -> list[str]:
    """Return a command of figures.yaml as this interpreter runs it."""
    program, *rest = shlex.split(command)
    if program == "python":
        return [sys.executable, *rest]
    return [sys.executable, "-m", program, *rest]


def run(command: str) -> dict[str, Any]:
    """Return what a benchmark printed, and where and when it ran."""
    load, began = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(arguments_of(command), cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    here = machine()
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": here["machine"],
        "cores": here["cores"],
        "load_before": round(load, 2),
        "seconds": round(time.monotonic() - began),
        "torch": version("torch"),
        "revision": revision(TOP / "src" / "poolbench")[0],
        "output": done.stdout,
    }


def main() -> None:
    figures = {name: one["command"] for name, one in yaml.safe_load(FIGURES.read_text(encoding="utf-8")).items()}
    known = figures | yaml.safe_load(SIMULATIONS.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    chosen = parser.parse_args().names or list(figures)
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"unknown {', '.join(unknown)}; there are {', '.join(known)}")
    for name in chosen:
        found = run(" ".join(known[name].split()))
        folder = KEPT if name in figures else KEPT_SIMULATIONS
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{name}.json") as file:
            file.write((json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
        print(f"{name}: {found['seconds']} s, load before it {found['load_before']}", flush=True)


if __name__ == "__main__":
    main()
