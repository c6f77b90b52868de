"""Speed and memory of window operators beside torch's own max pooling, the same geometry for both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.measure.timing import Interval, alternate, median_interval
from poolbench.spec import build
from poolbench.streams import stream

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Shape:
    """One place where a pooling is timed: input (B, C, H, W) and window."""

    name: str
    size: tuple[int, int, int, int]
    kernel_size: int
    stride: int
    padding: int

    @property
    def title(self) -> str:
        """The shape in a few characters."""
        window = f"k{self.kernel_size}s{self.stride}" + (f"p{self.padding}" if self.padding else "")
        return f"{'×'.join(map(str, self.size))} {window}"

    def smaller(self, times: int) -> "Shape":
        """Return the shape with a batch `times` smaller."""
        return Shape(self.name, (max(1, self.size[0] // times), *self.size[1:]), *self._window)

    @property
    def _window(self) -> tuple[int, int, int]:
        return self.kernel_size, self.stride, self.padding


SHAPES = (
    Shape("A", (128, 64, 32, 32), 2, 2, 0),
    Shape("B", (128, 64, 32, 32), 3, 2, 1),
    Shape("C", (64, 256, 16, 16), 2, 2, 0),
)


def bench_operators(
    specs: Mapping[str, Mapping[str, Any]],
    *,
    shapes: Sequence[Shape] = SHAPES,
    layouts: Sequence[str] = tuple(LAYOUTS),
    dtypes: Sequence[str] = ("float32",),
    budget_s: float = 1.0,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each shape, layout, dtype and operator: milliseconds, ratios to `nn.MaxPool2d`, bytes kept.

    Forward is timed without gradients, forward + backward from an input that needs one. The row `copy` is the floor:
    a copy of the input and one of the output. The calling process's threads and allocator are in force.
    """
    for shape in shapes:
        for layout in layouts:
            for dtype in dtypes:
                yield _row(shape, layout, dtype, "copy", _Copy(shape), budget_s)
                for label, spec in specs.items():
                    operator = build(spec, _context(shape), where=f"pooling.{label}.downsample")
                    yield _row(shape, layout, dtype, label, operator, budget_s)


def kept_bytes(operator: nn.Module, images: Tensor) -> int:
    """Return the bytes that autograd keeps for the backward pass, each storage counted once."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        operator(images.detach().requires_grad_())
    return sum(storages.values())


class _Copy(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(*shape._window)
        self.output: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.output is None:
            self.output = self.pool(images.detach())
        # Both are read and written once, as any pooling must at least.
        images.detach().clone()
        return self.output.clone()


def _context(shape: Shape) -> dict[str, Any]:
    return {
        "kernel_size": shape.kernel_size,
        "stride": shape.stride,
        "padding": shape.padding,
        "ceil_mode": False,
        "channels": shape.size[1],
    }


def _row(shape: Shape, layout: str, dtype: str, label: str, operator: nn.Module, budget_s: float) -> dict[str, Any]:
    images = torch.randn(shape.size, generator=stream(0, "bench")).to(DTYPES[dtype])
    images = images.contiguous(memory_format=LAYOUTS[layout])
    maximum = nn.MaxPool2d(*shape._window)
    operator = operator.to(DTYPES[dtype])
    trained = label != "copy"
    row: dict[str, Any] = {
        "shape": shape.title,
        "layout": layout,
        "dtype": dtype,
        "operator": label,
        "threads": torch.get_num_threads(),
        "kept_mib": kept_bytes(operator, images) / 2**20 if trained else None,
    }
    row |= _compare("forward", _forward(operator, images), _forward(maximum, images), budget_s)
    if trained:
        row |= _compare("backward", _both(operator, images), _both(maximum, images), budget_s)
    return row


def _compare(what: str, arm: Callable[[], object], reference: Callable[[], object], budget_s: float) -> dict[str, Any]:
    pair = alternate(arm, reference, budget_s=budget_s)
    ratio: Interval = pair.ratio
    return {
        f"{what}_ms": 1000 * median_interval(pair.first).median,
        f"{what}_max_ms": 1000 * median_interval(pair.second).median,
        f"{what}_ratio": ratio.median,
        f"{what}_ratio_ci95_low": ratio.low,
        f"{what}_ratio_ci95_high": ratio.high,
        f"{what}_settled": pair.settled,
    }


def _forward(operator: nn.Module, images: Tensor) -> Callable[[], object]:
    def forward() -> Tensor:
        with torch.no_grad():
            return operator(images)

    return forward


def _both(operator: nn.Module, images: Tensor) -> Callable[[], object]:
    images = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.no_grad():
        gradient = torch.ones_like(operator(images))

    def both() -> None:
        images.grad = None
        for parameter in operator.parameters():
            parameter.grad = None
        operator(images).backward(gradient)

    return both
