"""What bfloat16 takes on this CPU: torch's autocast, and that of poolbench, each in turn with float32.

On a processor with instructions for bfloat16 both are the same; on one without, poolbench multiplies in float32.
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn
from turns import markdown

from poolbench.kernels.autocast import autocast, has_bfloat16
from poolbench.measure.machine import machine
from poolbench.measure.timing import alternate, median_interval

CPU = torch.device("cpu")
Context = Callable[[], AbstractContextManager[object]]
PRECISIONS: dict[str, Context] = {
    "torch's autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "poolbench": lambda: autocast(CPU, torch.bfloat16),
}


def step(network: nn.Module, x: torch.Tensor, context: Context) -> Callable[[], object]:
    """Return a forward and backward pass."""
    parameters = list(network.parameters())

    def call() -> None:
        with context():
            out = network(x)
        torch.autograd.grad(out.float().sum(), parameters)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=4.0, help="seconds for each comparison (default: %(default)s)")
    budget_s = parser.parse_args().budget
    torch.set_num_threads(1)
    torch.manual_seed(0)
    convolution = nn.Conv2d(32, 32, 5, padding=2).to(memory_format=torch.channels_last)
    maps = torch.randn(64, 32, 16, 16).to(memory_format=torch.channels_last)
    rows = []
    for what, layer, x in (
        ("5×5 convolution of 64×32×16×16", convolution, maps),
        ("linear layer, 256×1024 to 1024", nn.Linear(1024, 1024), torch.randn(256, 1024)),
    ):
        in_float32 = step(layer, x, lambda: torch.autocast("cpu", enabled=False))
        for name, context in PRECISIONS.items():
            pair = alternate(step(layer, x, context), in_float32, budget_s=budget_s)
            ms = median_interval(pair.first).median * 1e3
            ratio = pair.ratio
            interval = f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio.low else f"{ratio.median:.2f}"
            rows.append([what, name, f"{ms:.2f}", interval])
    has = "has" if has_bfloat16() else "has no"
    print(f"{machine()['machine']}, 1 thread, which {has} instructions for bfloat16; forward and backward\n")
    print(markdown(["layer", "autocast", "ms", "times float32"], rows))


if __name__ == "__main__":
    main()
