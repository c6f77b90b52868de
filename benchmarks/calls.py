"""What one call costs on a map so small that the call is all there is: operators beside `nn.MaxPool2d`, in turn.

On a GPU it is the host that is timed: many calls, and the GPU is waited for at the end.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from turns import markdown

from poolbench.measure.machine import machine
from poolbench.measure.timing import alternate, median_interval
from poolbench.pooling import AvgTopKPool2d, MaxPool2d, MixedPool2d

SIZE = (2, 8, 16, 16)
CALLS = 200


class _HostStopwatch:
    """Seconds of the wall's clock until the device has done all the calls."""

    name = "wall"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, action: Callable[[], object], calls: int) -> tuple[float, float]:
        began = time.perf_counter()
        for _ in range(calls):
            action()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        passed = time.perf_counter() - began
        return passed, passed


def forward(pool: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    def call() -> None:
        with torch.no_grad():
            pool(x)

    return call


def both(pool: nn.Module, x: torch.Tensor, gradient: torch.Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(pool(x), x, gradient)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--budget", type=float, default=4.0, help="seconds for each comparison")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    reference = nn.MaxPool2d(3, 2, 1)
    gradient = torch.ones_like(reference(x))
    rows = []
    for pool in (MaxPool2d(3, 2, 1), AvgTopKPool2d(3, 2, 1, k=3), MixedPool2d(3, 2, 1)):
        pool = pool.to(device)
        for what, one, other in (
            ("forward", forward(pool, x), forward(reference, x)),
            ("with backward", both(pool, x, gradient), both(reference, x, gradient)),
        ):
            pair = alternate(one, other, budget_s=arguments.budget, inner=CALLS, stopwatch=_HostStopwatch(device))
            times = [median_interval(found).median * 1e6 for found in (pair.first, pair.second)]
            rows.append([type(pool).__name__, what, f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[0] - times[1]:.1f}"])
    print(f"{machine(device)['device_name']}, torch {torch.__version__}, {'×'.join(map(str, SIZE))} k3s2p1, one thread")
    print(markdown(["operator", "what", "µs", "nn.MaxPool2d", "more"], rows))


if __name__ == "__main__":
    main()
