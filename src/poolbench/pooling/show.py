"""An operator at every stage of its way to a kernel: `python -m poolbench.pooling.show softpool`.

`src/poolbench/kernels/README.md` explains the stages. The window is two values side by side unless another one is asked
for, so that all of it can be read.
"""

import argparse
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import torch
import yaml

from poolbench.errors import ConfigurationError
from poolbench.kernels.cpu.emit import emit
from poolbench.kernels.cpu.spec import KernelSpec
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu.blocks import Text
from poolbench.kernels.gradient import gradients
from poolbench.kernels.graph import Value, Window
from poolbench.kernels.order import needed
from poolbench.kernels.tape import Tape
from poolbench.paths import conf_dir
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.spec import build

STAGES = ("formula", "graph", "derivative", "tape", "torch", "llvm", "triton")
CHANNELS = 4


def operators() -> dict[str, dict[str, object]]:
    """Return the specification of each window operator, by the name of its YAML."""
    read = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for path in sorted((conf_dir() / "pooling").glob("*.yaml"))
    }
    return {name: variant["downsample"] for name, variant in read.items() if variant.get("downsample")}


def operator_of(name: str, kernel_size: Sequence[int], *, border: bool) -> TapPool2d:
    """Return the operator of a YAML, in evaluation.

    Args:
        name: of the YAML.
        kernel_size: height and width of its window.
        border: whether values may lie outside the map.

    Raises:
        ConfigurationError: there is none, or it is no formula of one window.
    """
    known = operators()
    if name not in known:
        raise ConfigurationError(f"no operator {name!r}; there are {', '.join(known)}")
    size = tuple(kernel_size)
    padding = tuple(each // 2 for each in size) if border else (0, 0)
    context = {"kernel_size": size, "stride": size, "padding": padding, "ceil_mode": False, "channels": CHANNELS}
    built = build(dict(known[name]), context, where=name).eval()
    if not isinstance(built, TapPool2d) or not built.programs:
        raise ConfigurationError(
            f"{name} with a window of {size} is no formula of one window: there is nothing to show"
        )
    return built


def shown(operator: TapPool2d, stage: str, *, border: bool = False) -> str:
    """Return one stage of an operator as text: see `STAGES`.

    >>> from poolbench.pooling import MaxPool2d
    >>> print(shown(MaxPool2d((1, 2)), "tape"))  # doctest: +ELLIPSIS
    result
      0  tap ...
      ...
    """
    return "\n".join(_PRINTERS[stage](operator, border))


def _formula(operator: TapPool2d, border: bool) -> Iterator[str]:
    """Give the formula as it is written."""
    yield textwrap.dedent(inspect.getsource(type(operator).formula)).rstrip()


def _traced(operator: TapPool2d, border: bool) -> tuple[Value, list[Value]]:
    """Return the result of a formula, and what its values and parameters get of the gradient."""
    window = Window.of(operator.window_size, masked=border)
    result = operator.formula(window)
    leaves = window.values + [window.param(at) for at in range(operator.learned)]
    return result, gradients(result, leaves)


def _graph(operator: TapPool2d, border: bool) -> Iterator[str]:
    """Give the graph of the result."""
    result, _ = _traced(operator, border)
    yield from map(_node, needed([result]))
    yield f"result: %{result.index}"


def _derivative(operator: TapPool2d, border: bool) -> Iterator[str]:
    """Give what the derivative adds to the graph, and where its results stand."""
    result, found = _traced(operator, border)
    there = {value.index for value in needed([result])}
    yield from (_node(value) for value in needed(found) if value.index not in there)
    names = [f"value {at}" for at in range(operator.window_size)] + [f"param {at}" for at in range(operator.learned)]
    yield from (f"gradient of {name}: %{value.index}" for name, value in zip(names, found, strict=True))


def _node(value: Value) -> str:
    """Return a value of a graph in a line."""
    arguments = value.args[:1] if value.op == "with_gradient_of" else value.args
    which = "" if value.leaf is None else f" {value.leaf:g}"
    return f"%{value.index} = {value.op}{which}" + "".join(f" %{argument.index}" for argument in arguments)


def _tape(operator: TapPool2d, border: bool) -> Iterator[str]:
    """Give both tapes, an operation a line, and what comes out."""
    made = operator.program
    both = (made.value_at_border, made.derivative_at_border) if border else (made.value, made.derivative)
    for title, tape in zip(("result", "derivative"), both, strict=True):
        yield title
        yield from (f"  {line}" for line in _lines(tape))


def _lines(tape: Tape) -> Iterator[str]:
    for at, (op, arguments, leaf) in enumerate(tape.operations):
        yield f"{at}  {op}" + ("" if leaf is None else f" {leaf:g}") + "".join(f" [{number}]" for number in arguments)
    yield f"out: {', '.join(f'[{number}]' for number in tape.outputs)}"


def _torch(operator: TapPool2d, border: bool) -> Iterator[str]:
    """Give results and gradients of a small map by torch's own operations."""
    rows, columns = operator.kernel_size
    x = torch.arange(1.0, rows * columns * 2 + 1).view(1, 1, rows, columns * 2).expand(1, CHANNELS, -1, -1)
    leaf = x.clone().requires_grad_()
    y = operator.plain(leaf)
    (gradient,) = torch.autograd.grad(y.sum(), leaf)
    yield f"map       {x[0, 0].tolist()}"
    yield f"result    {y[0, 0].tolist()}"
    yield f"gradient  {gradient[0, 0].tolist()}"


def _llvm(operator: TapPool2d, border: bool) -> Iterator[str]:
    """Give the kernel of results for the CPU, four channels at a time."""
    spec = KernelSpec(
        derivative=False,
        channels_last=True,
        dtype="float32",
        kernel_size=operator.kernel_size,
        stride=operator.stride,
        padding=operator.padding,
        dilation=operator.dilation,
        lanes=4,
        masked=border,
        disjoint=True,
    )
    yield emit(operator.program, spec, "shown").rstrip()


def _triton(operator: TapPool2d, border: bool) -> Iterator[str]:
    """Give the source of the kernel of results for a GPU."""
    size = 4 * operator.kernel_size[0], 4 * operator.kernel_size[1]
    shape = operator.output_shape(*size)
    place = Geometry(operator.kernel_size, operator.stride, operator.padding, operator.dilation, shape)
    yield Text(operator.program, place, place.outside(size), True, False).written().rstrip()


_PRINTERS: dict[str, Callable[[TapPool2d, bool], Iterator[str]]] = {
    "formula": _formula,
    "graph": _graph,
    "derivative": _derivative,
    "tape": _tape,
    "torch": _torch,
    "llvm": _llvm,
    "triton": _triton,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the stages that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m poolbench.pooling.show", description=__doc__)
    parser.add_argument("operator", help="name of a YAML in conf/pooling: softpool")
    parser.add_argument("--stage", choices=STAGES, action="append", help="one stage (all of them)")
    parser.add_argument("--kernel-size", type=int, nargs=2, default=(1, 2), metavar=("H", "W"), help="window (1 2)")
    parser.add_argument("--border", action="store_true", help="where values of the window may lie outside the map")
    asked = parser.parse_args(arguments)
    try:
        operator = operator_of(asked.operator, asked.kernel_size, border=asked.border)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    stages = asked.stage or STAGES
    with suppress(BrokenPipeError):  # who reads the first lines alone has seen enough
        print("\n\n".join(f"==== {stage} ====\n{shown(operator, stage, border=asked.border)}" for stage in stages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
