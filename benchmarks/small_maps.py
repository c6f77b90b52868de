"""Small maps, where a call weighs more than what it computes: every operator beside `nn.MaxPool2d`, in turn.

Forward and backward, from a map that needs a gradient, parameters too, as a training step calls them. The limits are
what an operator may take beside `nn.MaxPool2d` of the same window on the same map: 1.5 for those that a kernel takes in
one pass with no numbers of their own, or a few; 3 for other window operators and for heads that keep the width. Where
an operator has a convolution, or products of channels, these are no matter of calls: `small_maps` of its class says
what its time goes into.

On several threads the wall's clock is read, which neighbours disturb: one thread is the default.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from turns import markdown, shown

from poolbench.cli.bench import operator_specs
from poolbench.kernels.precision import FORMATS
from poolbench.measure.machine import machine
from poolbench.measure.operators import Shape
from poolbench.measure.stopwatch import stopwatch_for
from poolbench.measure.timing import Pair, alternate, median_interval
from poolbench.pooling import HeadPool2d
from poolbench.spec import build
from poolbench.streams import drawing, stream

SHAPES = (
    Shape("a", (8, 64, 8, 8), 2, 2, 0),
    Shape("b", (8, 64, 8, 8), 3, 2, 1),
    Shape("c", (8, 256, 16, 16), 2, 2, 0),
    Shape("d", (2, 8, 16, 16), 3, 2, 1),
)
# Of time beside `nn.MaxPool2d`.
NARROW, WIDE = 1.5, 3.0
PLAIN = ("max", "min", "avg", "avg_topk", "t_max_avg", "mixed", "rank_weighted", "mam")


def limit_of(label: str, operator: nn.Module, channels: int) -> float | None:
    """Return the most that an operator may take, None where it says why there is no limit."""
    if getattr(operator, "small_maps", ""):
        return None
    if label in PLAIN:
        return NARROW
    if isinstance(operator, HeadPool2d) and operator.features_of(channels) != channels:
        return None
    return WIDE


def both(operator: nn.Module, images: Tensor) -> Callable[[], object]:
    """Return forward and backward as a training step makes them."""
    images = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    parameters = list(operator.parameters())
    with torch.no_grad():
        gradient = torch.ones_like(operator(images))

    def call() -> None:
        images.grad = None
        for parameter in parameters:
            parameter.grad = None
        operator(images).backward(gradient)

    return call


def compared(operator: nn.Module, shape: Shape, layout: str, budget_s: float) -> Pair:
    """Time an operator and `nn.MaxPool2d` in turn."""
    images = torch.randn(shape.size, generator=stream(0, "small maps")).contiguous(memory_format=FORMATS[layout])
    maximum = both(shape.maximum(), images)
    return alternate(
        both(operator, images),
        maximum,
        budget_s=budget_s,
        least_s=budget_s / 4,
        stopwatch=stopwatch_for(torch.device("cpu")),
    )


def row(label: str, spec: Mapping[str, Any], shape: Shape, layout: str, budget_s: float) -> list[str]:
    with drawing(0, "small maps", label):
        operator = build(spec, shape.context, where=f"pooling.{label}")
    limit = limit_of(label, operator, shape.size[1])
    pair = compared(operator, shape, layout, budget_s)
    above = limit is not None and pair.ratio.median > limit
    microseconds = [median_interval(found).median * 1e6 for found in (pair.first, pair.second)]
    return [
        label,
        *(f"{time:.1f}" for time in microseconds),
        shown(pair.ratio),
        "" if limit is None else f"{limit:g}",
        "above" if above else "",
        getattr(operator, "small_maps", ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", help="variants of conf/pooling (all)")
    parser.add_argument("--shape", choices=[shape.name for shape in SHAPES], action="append", help="which (all)")
    parser.add_argument("--layout", choices=tuple(FORMATS), action="append", help="memory layout (both)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each comparison, at most")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{machine(torch.device('cpu'))['device_name']}, torch {torch.__version__}, {arguments.threads} thread(s)")
    header = ["operator", "µs", "nn.MaxPool2d", "ratio", "limit", "", "what the time goes into"]
    specs = operator_specs(arguments.variants)
    for shape in SHAPES:
        for layout in arguments.layout or FORMATS:
            if arguments.shape and shape.name not in arguments.shape:
                continue
            rows = [row(label, spec, shape, layout, arguments.budget) for label, spec in specs.items()]
            print(f"\n{shape.title}, {layout}\n")
            print(markdown(header, rows), flush=True)


if __name__ == "__main__":
    main()
