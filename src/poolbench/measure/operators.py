"""Speed and memory of operators beside torch's own max pooling: window operators of its geometry, heads of its map."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.errors import unknown_name
from poolbench.kernels.precision import DTYPES, FORMATS
from poolbench.measure.graphs import Capture, captured
from poolbench.measure.stopwatch import stopwatch_for
from poolbench.measure.timing import alternate, median_interval
from poolbench.spec import build
from poolbench.streams import drawing, stream

CPU = torch.device("cpu")
# Of heads that ask for it.
CLASSES = 10
COPY = "copy"


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
        """The shape in a few characters.

        >>> SHAPES[1].title
        '128×64×32×32 k3s2p1'
        """
        window = f"k{self.kernel_size}s{self.stride}" + (f"p{self.padding}" if self.padding else "")
        return f"{'×'.join(map(str, self.size))} {window}"

    def smaller(self, times: int) -> "Shape":
        """Return the shape with a batch `times` smaller."""
        size = (max(1, self.size[0] // times), *self.size[1:])
        return Shape(self.name, size, self.kernel_size, self.stride, self.padding)

    @property
    def context(self) -> dict[str, Any]:
        """The arguments that this place gives to an operator."""
        return {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": False,
            "channels": self.size[1],
            "map_size": self.size[2:],
            "num_classes": CLASSES,
        }

    def maximum(self) -> nn.MaxPool2d:
        """Return torch's own max pooling for this place."""
        return nn.MaxPool2d(self.kernel_size, self.stride, self.padding)


SHAPES = (
    Shape("A", (128, 64, 32, 32), 2, 2, 0),
    Shape("B", (128, 64, 32, 32), 3, 2, 1),
    Shape("C", (64, 256, 16, 16), 2, 2, 0),
    Shape("D", (32, 64, 112, 112), 3, 2, 1),
)


def bench_operators(
    specs: Mapping[str, Mapping[str, Any]],
    *,
    shapes: Sequence[Shape] = SHAPES,
    layouts: Sequence[str] = tuple(FORMATS),
    dtypes: Sequence[str] = ("float32",),
    budget_s: float = 1.0,
    device: torch.device = CPU,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each shape, layout, dtype and operator, as soon as it is measured.

    The first row of a shape, layout and dtype is `copy`, the floor: a copy of the input and one of the output, which
    no pooling can beat by much. `implementation` names what computed a row; `nn.MaxPool2d`, the yardstick, is always
    torch's own, so two operators are compared by their rows. An operator that cannot run there has a row with a
    `reason` and no figures. The calling process's threads and allocator are in force. A head has no window: it is set
    beside the pooling of windows on the same map, because that is a time one knows.

    Args:
        specs: the specification of each operator, window operator or head, by label.
        shapes: where they are timed.
        layouts: `contiguous`, `channels_last`.
        dtypes: `float32`, `bfloat16`, `float16`.
        budget_s: seconds for each measurement, at most; a row has one (`copy`) or two, four on a GPU.
        device: where maps and operators are.
    """
    for shape in shapes:
        for layout in layouts:
            for dtype in dtypes:
                yield copy_speed(shape, layout=layout, dtype=dtype, budget_s=budget_s, device=device)
                for label, spec in specs.items():
                    # Before the try: a misspelt argument is the caller's mistake, not the operator's limit.
                    with drawing(0, "bench", label):
                        operator = build(spec, shape.context, where=f"pooling.{label}")
                    try:
                        found = operator_speed(
                            operator, shape, layout=layout, dtype=dtype, budget_s=budget_s, device=device
                        )
                    except (RuntimeError, TypeError, ValueError) as error:
                        found = _place(shape, layout, dtype) | {"reason": f"{type(error).__name__}: {error}"}
                    yield found | {"operator": label}


def operator_speed(
    operator: nn.Module,
    shape: Shape,
    *,
    layout: str,
    dtype: str,
    budget_s: float,
    half_width: float = 0.02,
    device: torch.device = CPU,
    capture: Capture | None = None,
) -> dict[str, Any]:
    """Return milliseconds of `operator` and their ratio to `nn.MaxPool2d` of the same geometry, timed in turn.

    `forward_*` is timed without gradients; `backward_*` is forward and backward from an input that needs a gradient,
    the gradient of the output given in the same layout. `*_ratio` is operator / max: below 1 the operator is faster.
    `kept_mib` is what autograd keeps for the backward pass (`kept_bytes`), `keeps_layout` whether the output has the
    input's layout: where it has not, the next layer pays for it; None of a head's features.

    A GPU waits for the launch of a small call. So there `*_graph_*` are the same of the kernels alone, captured once
    and replayed; what cannot be captured has a `graph_reason` instead.

    Args:
        operator: takes (B, C, H, W) and gives the output shape of max pooling, or features (B, F); moved to `dtype`
            and `device`.
        shape: input and window.
        layout: `contiguous` or `channels_last`.
        dtype: `float32`, `bfloat16` or `float16`.
        budget_s: seconds for each of the measurements, at most.
        half_width: relative half-width of the ratio's interval at which a measurement ends.
        device: where it is timed.
        capture: makes of an action what replays its kernels; None: a CUDA graph on a GPU, elsewhere nothing is.

    Raises:
        ValueError: the output has another shape than that of max pooling.
    """
    row = _place(shape, layout, dtype)
    images, maximum = _images(shape, layout, dtype).to(device), shape.maximum()
    operator = operator.to(device, DTYPES[dtype])
    with torch.no_grad():
        output, expected = operator(images), maximum(images)
    is_head = output.ndim == 2
    if not is_head and output.shape != expected.shape:
        raise ValueError(
            f"the output must be {tuple(expected.shape)} as that of max pooling, got {tuple(output.shape)}"
        )
    row |= {
        "implementation": _ran(operator, images),
        "keeps_layout": None if is_head else output.is_contiguous(memory_format=FORMATS[layout]),
        "kept_mib": kept_bytes(operator, images) / 2**20,
        "kept_max_mib": kept_bytes(maximum, images) / 2**20,
    }
    compare = partial(_compare, budget_s=budget_s, half_width=half_width, device=device)
    forward = _forward(operator, images), _forward(maximum, images)
    gradients = _ones(output, layout), _ones(expected, layout)
    both = _both(operator, images, gradients[0]), _both(maximum, images, gradients[1])
    row |= compare("forward", *forward) | compare("backward", *both)
    if device.type == "cuda":
        capture = capture or partial(captured, device=device)
    if capture is not None:
        row["graph_reason"] = ""
        pure = _gradients(operator, images, gradients[0]), _gradients(maximum, images, gradients[1])
        try:
            for what, (arm, reference) in (("forward_graph", forward), ("backward_graph", pure)):
                row |= compare(what, capture(arm), capture(reference))
        except RuntimeError as error:
            row["graph_reason"] = str(error).partition("\n")[0]
    return row


def copy_speed(
    shape: Shape,
    *,
    layout: str,
    dtype: str,
    budget_s: float,
    half_width: float = 0.02,
    device: torch.device = CPU,
) -> dict[str, Any]:
    """Return the row of the floor: copying the input and an output, beside the forward pass of `nn.MaxPool2d`."""
    row = _place(shape, layout, dtype) | {"operator": COPY}
    images, maximum = _images(shape, layout, dtype).to(device), shape.maximum()
    output = maximum(images)

    def copy() -> None:
        images.clone()
        output.clone()

    reference = _forward(maximum, images)
    return row | _compare("forward", copy, reference, budget_s=budget_s, half_width=half_width, device=device)


def kept_bytes(operator: nn.Module, images: Tensor) -> int:
    """Return the bytes that autograd keeps for the backward pass of `operator`, each storage counted once.

    The input counts where it is kept, parameters do not: they are there anyway. What a custom function keeps
    beside `save_for_backward` is not seen.

    >>> kept_bytes(nn.Sequential(nn.Sigmoid()), torch.zeros(1, 1, 4, 4))  # its output: 16 numbers of 4 bytes
    64
    """
    owned = {parameter.untyped_storage().data_ptr() for parameter in operator.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            storages[storage.data_ptr()] = storage.nbytes()
        # An output that keeps itself would never be freed.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = operator(images.detach().requires_grad_())
    del output  # only now: while the graph lives, no freed storage's address can come a second time
    return sum(storages.values())


def _place(shape: Shape, layout: str, dtype: str) -> dict[str, Any]:
    """Return the columns that every row has."""
    for kind, name, known in (("`layout`", layout, FORMATS), ("`dtype`", dtype, DTYPES)):
        if name not in known:
            raise unknown_name(kind, name, known)
    return {
        "shape": shape.title,
        "layout": layout,
        "dtype": dtype,
        "operator": "",
        "implementation": "torch",
        "threads": torch.get_num_threads(),
        "keeps_layout": None,
        "kept_mib": None,
        "kept_max_mib": None,
        "reason": "",
    }


def _ran(operator: nn.Module, images: Tensor) -> str:
    """Return what computes the operator there: `fast`, a compiled kernel, `triton`, one on a GPU, or `torch`."""
    look = getattr(operator, "implementation_for", None)
    return "torch" if look is None else str(look(images)[0])


def _images(shape: Shape, layout: str, dtype: str) -> Tensor:
    images = torch.randn(shape.size, generator=stream(0, "bench")).to(DTYPES[dtype])
    return images.contiguous(memory_format=FORMATS[layout])


def _ones(output: Tensor, layout: str) -> Tensor:
    ones = torch.ones_like(output)
    return ones if output.ndim == 2 else ones.contiguous(memory_format=FORMATS[layout])


def _compare(
    what: str,
    arm: Callable[[], object],
    reference: Callable[[], object],
    *,
    budget_s: float,
    half_width: float,
    device: torch.device,
) -> dict[str, Any]:
    on_gpu = device.type == "cuda"
    # A stochastic operator draws from torch's own stream.
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        pair = alternate(arm, reference, budget_s=budget_s, half_width=half_width, stopwatch=stopwatch_for(device))
    ratio = pair.ratio
    return {
        f"{what}_ms": 1000 * median_interval(pair.first).median,
        f"{what}_max_ms": 1000 * median_interval(pair.second).median,
        f"{what}_ratio": ratio.median,
        f"{what}_ratio_ci95_low": ratio.low,
        f"{what}_ratio_ci95_high": ratio.high,
        f"{what}_repeats": len(pair.first),
        f"{what}_settled": pair.settled,
    }


def _forward(operator: nn.Module, images: Tensor) -> Callable[[], object]:
    def forward() -> Tensor:
        with torch.no_grad():
            return operator(images)

    return forward


def _both(operator: nn.Module, images: Tensor, gradient: Tensor) -> Callable[[], object]:
    images = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    parameters = list(operator.parameters())

    def both() -> None:
        images.grad = None
        for parameter in parameters:
            parameter.grad = None
        operator(images).backward(gradient)

    return both


def _gradients(operator: nn.Module, images: Tensor, gradient: Tensor) -> Callable[[], object]:
    """Return forward and backward as a function of its inputs, which accumulates nothing: it can be captured."""
    images = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    asked = [images, *operator.parameters()]

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(operator(images), asked, gradient, allow_unused=True)

    return gradients
