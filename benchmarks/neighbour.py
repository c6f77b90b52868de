"""How much a busy neighbour changes a ratio: a pair measured on the quiet machine and beside busy processes, in turn.

The neighbour is this script's own: a process of one thread that multiplies matrices and goes through more memory than
the caches hold, without end. Everything else is as `poolbench bench backbone=… pooling=…` measures it. On one thread
the ratio is one of processor time, which a neighbour does not count in; with `--threads 2` it is one of time passed.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from turns import markdown, shown

from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.machine import machine
from poolbench.measure.timing import Interval

SETTLE_S = 1.0


def be_busy() -> None:
    import numpy as np

    matrix, memory = np.random.default_rng(0).random((384, 384)), np.zeros(16_000_000)
    while True:
        for _ in range(20):
            matrix @ matrix
        memory += 1


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many busy processes beside what happens inside."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, __file__, "--be-busy"], env={**os.environ, **one_thread})
        for _ in range(count)
    ]
    try:
        time.sleep(SETTLE_S)
        if any(process.poll() is not None for process in processes):
            sys.exit("a neighbour ended by itself")
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def side_by_side(arguments: argparse.Namespace) -> Any:
    import torch
    import yaml

    from poolbench.backbones import assemble
    from poolbench.measure.speed import SideBySide
    from poolbench.paths import conf_dir
    from poolbench.training import Protocol

    def written(group: str, name: str) -> dict[str, Any]:
        return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())

    size, classes = arguments.image_size, 10
    torch.set_num_threads(arguments.threads)
    protocol = Protocol.of(written("protocol", "default"))
    networks = [
        assemble(
            written("backbone", arguments.backbone),
            written("pooling", pooling),
            in_channels=3,
            image_size=(size, size),
            num_classes=classes,
            seed=0,
        ).network
        for pooling in (arguments.pooling, arguments.reference)
    ]
    return SideBySide(
        *networks,
        input_shape=(3, size, size),
        num_classes=classes,
        device=torch.device("cpu"),
        precision=protocol.precision,
        memory_format=protocol.memory_format,
        optimizer_factory=protocol.build_optimizer,
        budget_s=arguments.budget,
        half_width=arguments.half_width,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="slides", help="(%(default)s)")
    parser.add_argument("--pooling", default="avg_topk", help="(%(default)s)")
    parser.add_argument("--reference", default="max", help="(%(default)s)")
    parser.add_argument("--what", action="append", help="training, forward_backward, inference, latency (all)")
    parser.add_argument("--batch-size", type=int, default=128, help="(%(default)s)")
    parser.add_argument("--image-size", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--neighbours", type=int, default=1, help="busy processes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument(
        "--budget", type=float, default=10.0, help="seconds for each measurement, at most (%(default)s)"
    )
    parser.add_argument("--half-width", type=float, default=0.01, help="at which one ends (%(default)s)")
    parser.add_argument("--within", type=float, default=3.0, help="percent, counted at the end (%(default)s)")
    parser.add_argument("--be-busy", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be_busy:
        be_busy()
    allocator = ALLOCATOR.set("keep")
    both = side_by_side(arguments)
    print(
        f"{machine()['machine']}, {machine()['cores']} cores, load {os.getloadavg()[0]:.1f}; {arguments.backbone}, "
        f"{arguments.pooling} against {arguments.reference}, batch {arguments.batch_size} of "
        f"{arguments.image_size}×{arguments.image_size}×3, {arguments.threads} threads, allocator {allocator}; "
        f"ratio of {both.bounds['stopwatch'].name} time, ~ not settled\n"
    )
    for what in arguments.what or ("training", "forward_backward", "inference", "latency"):
        batch_size = 1 if what == "latency" else arguments.batch_size
        rows, differences = [], []
        for turn in range(arguments.rounds):
            found = {}
            for beside in (0, arguments.neighbours) if turn % 2 == 0 else (arguments.neighbours, 0):
                with neighbours(beside):
                    found[beside > 0] = both.measure(what, batch_size)
            quiet, busy = found[False], found[True]
            differences.append(100 * (busy.ratio / quiet.ratio - 1))
            passed = f"{busy.median / quiet.median:.2f}"
            rows.append([str(turn + 1), _ratio(quiet), _ratio(busy), f"{differences[-1]:+.2f} %", passed])
        print(f"{what}\n")
        print(
            markdown(["round", "quiet", "beside a neighbour", "difference", f"{found[True].unit}, busy / quiet"], rows)
        )
        near = sum(abs(difference) <= arguments.within for difference in differences)
        print(f"\nwithin {arguments.within:g} %: {near} of {len(differences)}\n", flush=True)


def _ratio(found: Any) -> str:
    mark = "" if found.settled else "~"
    return mark + shown(Interval(found.ratio, found.ratio_ci95_low, found.ratio_ci95_high), 3)


if __name__ == "__main__":
    main()
