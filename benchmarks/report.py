"""What a report takes: seconds and memory of `poolbench report` for many records, a process each.

The records are those of one real cell, with other names, seeds and outcomes: whole ones, with history and audit, and
with each test image's outcome.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
from turns import markdown

from poolbench.record import OUTCOMES_FILE, RECORD_FILE, write_bytes, write_record

ARMS, SEEDS = 10, 5


def make(folder: Path, template: dict, records: int, images: int) -> None:
    """Write so many records: blocks of 10 arms and 5 seeds, a data set for every two blocks."""
    draw = np.random.default_rng(0)
    target = draw.integers(0, 10, images).astype(np.int16)
    for index in range(records):
        block, rest = divmod(index, ARMS * SEEDS)
        arm, seed = divmod(rest, SEEDS)
        variant = "max" if arm == 0 else f"variant_{arm}"
        labels = {"backbone": f"network_{block % 2}", "dataset": f"data_{block // 2}", "variant": variant}
        right = draw.random(images) < 0.8 + 0.003 * arm
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            target=target,
            predicted=np.where(right, target, (target + 1) % 10).astype(np.int16),
            probability=draw.random(images).astype(np.float16),
            confidence=draw.random(images).astype(np.float16),
        )
        run_id = f"{labels['backbone']}-{variant}-{labels['dataset']}-s{seed}-{index:012x}"
        config = json.loads(json.dumps(template["config"]))
        config["pooling"]["name"], config["seed"] = variant, seed
        record = template | {
            "run_id": run_id,
            "arm_id": f"{block:06x}{arm:06x}",
            "block_id": f"{block:012x}",
            "labels": labels,
            "seed": seed,
            "config": config,
            "metrics": template["metrics"] | {"test_accuracy": float(right.mean())},
            "data": template["data"] | {"test_images": images},
            "audit": template["audit"] | {"network_digest": f"{block:06x}{arm:06x}"},
            "files": {OUTCOMES_FILE: sha256(buffer.getvalue()).hexdigest()},
        }
        write_bytes(folder / "records" / run_id / OUTCOMES_FILE, buffer.getvalue())
        write_record(folder / "records" / run_id / RECORD_FILE, record)


def measure(folder: Path) -> tuple[float, float]:
    """Return the seconds of one report, imports and all, and the most MiB that its processes had together."""
    began = time.monotonic()
    command = [sys.executable, "-m", "poolbench", "report", str(folder)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        largest = 0.0
        while process.poll() is None:
            largest = max(largest, together(process.pid))
            time.sleep(0.1)
        seconds = time.monotonic() - began
        if process.returncode:
            said.seek(0)
            sys.exit(f"the report ended with {process.returncode}:\n{said.read().decode()[-3000:]}")
    return seconds, largest


def together(pid: int) -> float:
    """Return the MiB of a process and its children; what they share counts once (Linux; 0 elsewhere)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # no such file system, or the process has just ended
        return 0.0
    own = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return own / 1024 + sum(together(int(child)) for child in children)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[200, 1_000, 10_000], help="(%(default)s)")
    parser.add_argument("--images", type=int, default=10_000, help="of the test set (%(default)s)")
    parser.add_argument(
        "--record", type=Path, help="the record that is multiplied (the first of results/reference/quickstart)"
    )
    arguments = parser.parse_args()
    known = sorted(Path("results/reference/quickstart/records").glob(f"*/{RECORD_FILE}"))
    source = arguments.record or (known[0] if known else None)
    if source is None:
        parser.error("no record in results/reference/quickstart: give one by --record")
    template = json.loads(source.read_text())
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for records in sorted(arguments.records):
            folder = Path(temporary) / f"r{records}"
            make(folder, template, records, arguments.images)
            seconds, memory = measure(folder)
            page = (folder / "report.html").stat().st_size / 1e6
            rows.append([f"{records:,}", f"{seconds:.1f} s", f"{memory:,.0f} MiB", f"{page:.2f} MB"])
            print(f"{records:,} records: {seconds:.1f} s", file=sys.stderr, flush=True)
    print(f"test set of {arguments.images:,} images; blocks of {ARMS} arms and {SEEDS} seeds\n")
    print(markdown(["records", "report", "memory of its processes together", "report.html"], rows))


if __name__ == "__main__":
    main()
