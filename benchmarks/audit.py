"""Seconds of the audit and the cost of a network, imports left out, and the memory that the cost takes.

    python benchmarks/audit.py
    python benchmarks/audit.py --model densenet121 --pooling avg_topk

The memory is how far the process's resident memory rises above what it was before (Linux: the kernel's own high-water
mark, set back first), each in a process of its own: in counting the cost, and in a forward pass of one image, in
evaluation mode and without gradients.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from poolbench.backbones import Assembled, assemble
from poolbench.measure.audit import audited
from poolbench.measure.cost import cost
from poolbench.paths import conf_dir

CPU = torch.device("cpu")


def made(model: str, pooling: str, size: int) -> Assembled:
    def spec(group: str, name: str) -> dict:
        return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())

    backbone = spec("backbone", "torchvision") | {"model": model}
    images = {"in_channels": 3, "image_size": (size, size), "num_classes": 1000}
    return assemble(backbone, spec("pooling", pooling), **images, seed=0)


def resident_mib(key: str) -> float:
    """Return `VmRSS`, what is resident now, or `VmHWM`, the most there was since it was set back."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key))


def memory_of(what: str, arguments: argparse.Namespace) -> None:
    """Print by how many MiB the process's peak grows; called in a process of its own."""
    network = made(arguments.model, arguments.pooling, 64).network.eval()
    shape = (3, arguments.size, arguments.size)
    if what == "cost":
        cost(network, (3, 64, 64))  # what the first call imports is not memory of the second
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_mib("VmRSS")
    if what == "cost":
        cost(network, shape, batch_size=1)
    else:
        with torch.no_grad():
            network(torch.zeros(1, *shape))
    print(resident_mib("VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--pooling", default="max")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", choices=("cost", "forward"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        memory_of(arguments.memory_of, arguments)
        return
    audited(made("resnet18", arguments.pooling, 64), batch_size=1, device=CPU)  # everything is imported behind this
    seconds = []
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        assembled = made(arguments.model, arguments.pooling, arguments.size)
        built = time.perf_counter()
        audited(assembled, batch_size=1, device=CPU)
        seconds.append((built - began, time.perf_counter() - built))
    first, later = sum(seconds[0]), statistics.median(sum(pair) for pair in seconds[1:] or seconds)
    print(
        f"{arguments.model}, {arguments.pooling}, {arguments.size}x{arguments.size}, {torch.get_num_threads()} threads"
    )
    print(f"built, audited and costed: {first:.2f} s at first, {later:.2f} s again")
    for what in ("cost", "forward"):
        command = [sys.executable, __file__, "--memory-of", what, "--size", str(arguments.size)]
        command += ["--model", arguments.model, "--pooling", arguments.pooling]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = {"cost": "the cost", "forward": "a forward pass of one image"}[what]
        print(f"memory of {said}: {float(done.stdout):.0f} MiB")


if __name__ == "__main__":
    main()
