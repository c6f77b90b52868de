"""Window operators of sequences beside `nn.MaxPool1d`, in turn: forward and backward, one row for each operator.

From a sequence (B, C, L) that needs a gradient, parameters too, as a training step calls them. Operators that choose,
average or sort should take at most as long as torch's own max pooling of the same window; the others are there to see.
"""

import argparse

import torch
from small_maps import PLAIN, both
from torch import nn
from turns import markdown, shown

from poolbench.backbones.dimensions import form_for
from poolbench.cli.bench import operator_specs
from poolbench.measure.machine import machine
from poolbench.measure.operators import DTYPES
from poolbench.measure.stopwatch import stopwatch_for
from poolbench.measure.timing import alternate, median_interval
from poolbench.spec import build
from poolbench.streams import drawing, stream

SIZE = (128, 64, 1024)
# Kernel size, stride, padding.
WINDOWS = ((2, 2, 0), (3, 2, 1))
MOST = 1.0


def operator_of(label: str, window: tuple[int, int, int]) -> nn.Module:
    """Return the one-dimensional form of a variant's operator."""
    spec = form_for(operator_specs([label])[label], 1, where=f"pooling.{label}", place="the benchmark")
    given = dict(zip(("kernel_size", "stride", "padding"), window, strict=True), channels=SIZE[1])
    with drawing(0, "sequences", label):
        operator: nn.Module = build(spec, given, where=f"pooling.{label}")
    return operator


def row(label: str, window: tuple[int, int, int], dtype: torch.dtype, budget_s: float) -> list[str]:
    """Time an operator and `nn.MaxPool1d` in turn."""
    images = torch.randn(SIZE, generator=stream(0, "sequences")).to(dtype)
    pair = alternate(
        both(operator_of(label, window), images),
        both(nn.MaxPool1d(*window), images),
        budget_s=budget_s,
        least_s=budget_s / 4,
        stopwatch=stopwatch_for(torch.device("cpu")),
    )
    milliseconds = [median_interval(found).median * 1e3 for found in (pair.first, pair.second)]
    above = label in PLAIN and pair.ratio.median > MOST
    limit = f"{MOST:g}" if label in PLAIN else ""
    return [label, *(f"{time:.2f}" for time in milliseconds), shown(pair.ratio), limit, "above" if above else ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=list(PLAIN), help=f"of conf/pooling ({', '.join(PLAIN)})")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for each comparison, at most")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{machine(torch.device('cpu'))['device_name']}, torch {torch.__version__}, {arguments.threads} thread(s)")
    for window in WINDOWS:
        kernel_size, stride, padding = window
        print(f"\n{'×'.join(map(str, SIZE))} k{kernel_size}s{stride}p{padding}, {arguments.dtype}\n")
        rows = [row(label, window, DTYPES[arguments.dtype], arguments.budget) for label in arguments.variants]
        print(markdown(["operator", "ms", "nn.MaxPool1d", "ratio", "limit", ""], rows), flush=True)


if __name__ == "__main__":
    main()
