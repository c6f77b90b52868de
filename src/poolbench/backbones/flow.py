"""How a map goes through a network: each operation of a pass, what it was made of, and in which module."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from poolbench.backbones.axes import Axes, axes_of_images, channels_are_last, follow, places
from poolbench.backbones.watch import watching_calls

STEP = "_poolbench_step"
# What multiplies by weights.
WEIGHTED = ("convolution", "_convolution", "mm", "addmm", "bmm", "baddbmm")


@dataclass(frozen=True)
class Step:
    """One operation.

    Args:
        operation: its name in torch's dispatcher.
        module: the innermost module in whose forward method it was called; "" is the network itself.
        inputs: the steps that it takes tensors from.
        into: shape of its largest map, without the batch's dimension.
        out: shape of its output, likewise.
        before: places of that map; 0 where they are not known.
        after: places of its output, likewise.
        kernel: places of a convolution's kernel.
        last: whether its output is a map (H, W, C), or (L, C), its channels last.
    """

    operation: str
    module: str
    inputs: tuple[int, ...]
    into: tuple[int, ...] = ()
    out: tuple[int, ...] = ()
    before: float = 0
    after: float = 0
    kernel: int = 1
    last: bool = False

    @property
    def word(self) -> str:
        """The operation as a message calls it."""
        if "scaled_dot_product" in self.operation:
            return "attention"
        return self.operation.strip("_").removesuffix("_with_indices")

    @property
    def reduces(self) -> bool:
        """Whether it makes a map smaller."""
        return 0 < self.after < self.before * (1 - 1e-6) and self.into != self.out


@dataclass(frozen=True)
class Span:
    """One call of a module: its steps, from `first` up to `end`, and the steps that gave its output."""

    first: int
    end: int
    outputs: tuple[int, ...]


@dataclass
class Flow:
    """The steps of one pass, in their order; step 0 are the images.

    Args:
        steps: of the pass.
        spans: the calls of each module.
        outputs: the steps that gave the network's output.
    """

    steps: list[Step] = field(default_factory=lambda: [Step("images", "", ())])
    spans: dict[str, list[Span]] = field(default_factory=dict)
    outputs: tuple[int, ...] = ()

    def on_way(self) -> set[int]:
        """Return the steps that the output depends on."""
        return self._before(self.outputs, without=set())

    def only_way(self, name: str) -> bool:
        """Whether all that the output has of the images goes through what a module gives."""
        given = {step for span in self.spans.get(name, ()) for step in span.outputs}
        return bool(given & self.on_way()) and 0 not in self._before(self.outputs, without=given)

    def given(self, name: str) -> list[int]:
        """Return the steps outside of a module that its first call takes tensors from."""
        span = self.spans[name][0]
        return sorted({one for at in range(span.first, span.end) for one in self.steps[at].inputs if one < span.first})

    def is_given_last(self, name: str) -> bool:
        """Whether all that a module takes are maps whose channels come last; False where that is not known."""
        given = self.given(name) if name in self.spans else []
        return bool(given) and all(self.steps[step].last for step in given)

    def around(self, name: str, step: int) -> bool:
        """Whether a step is made by code that calls a module in its first call, be it through others."""
        span = self.spans[name][0]
        return any(s.first <= span.first and span.end <= s.end for s in self.spans.get(self.steps[step].module, ()))

    def is_first(self, name: str) -> bool:
        """Whether no layer with weights stands before a module."""
        span = self.spans[name][0] if name in self.spans else None
        if span is None:
            return False
        own = range(span.first, span.end)
        return not any(
            self.steps[step].operation in WEIGHTED and step not in own
            for step in self._before(span.outputs, without=set())
        )

    def joins_larger(self, step: int) -> bool:
        """Whether what a step gives comes together with a map that has more places, as a gate's result does."""
        found = {step}
        for index in range(step + 1, len(self.steps)):
            if found.intersection(self.steps[index].inputs):
                if self.steps[index].before > self.steps[step].after:
                    return True
                found.add(index)
        return False

    def reductions(self) -> Iterator[int]:
        """Yield the steps that make a map smaller."""
        return (index for index, step in enumerate(self.steps) if step.reduces)

    def _before(self, ends: Sequence[int], without: set[int]) -> set[int]:
        found: set[int] = set()
        waiting = [end for end in ends if end not in without]
        while waiting:
            step = waiting.pop()
            if step not in found:
                found.add(step)
                waiting += [one for one in self.steps[step].inputs if one not in without]
        return found


@contextmanager
def following(network: nn.Module) -> Iterator[Flow]:
    """Note the steps of the one pass of images (B, C, H, W), or sequences (B, C, L), that is made in the block."""
    recorder = _Recorder()
    with watching_calls(network, recorder.enter, recorder.leave), recorder:
        yield recorder.flow


class _Recorder(TorchDispatchMode):
    """Writes down what torch dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self.stack: list[tuple[str, int]] = []
        # By storage: what was written into a part of it, which the tensor of the whole does not show.
        self.written: dict[int, tuple[Tensor, list[int]]] = {}
        self.axes: list[Axes | None] = [None]

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not self.stack and self.axes[0] is None:
            image = next((leaf for leaf in inputs if isinstance(leaf, Tensor)), None)
            if image is not None and image.ndim in (3, 4):
                self.axes[0] = axes_of_images(image.shape)
                setattr(image, STEP, 0)
        self.stack.append((name, len(self.flow.steps)))

    def leave(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not self.stack or self.stack[-1][0] != name:
            return
        _, first = self.stack.pop()
        leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        outputs = tuple(step for leaf in leaves for step in self._steps_of(leaf))
        self.flow.spans.setdefault(name, []).append(Span(first, len(self.flow.steps), outputs))
        if not self.stack:
            self.flow.outputs = outputs

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._note(func, args, kwargs or {}, result)
        return result

    def _steps_of(self, tensor: Tensor) -> list[int]:
        own = getattr(tensor, STEP, None)
        _, written = self.written.get(_storage(tensor), (None, []))
        return [*([] if own is None else [own]), *written]

    def _axes_of(self, tensor: Tensor) -> Axes | None:
        for step in self._steps_of(tensor):
            axes = self.axes[step]
            if axes is not None and len(axes) == tensor.ndim:
                return axes
        return None

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        given = [leaf for leaf in tree_leaves((args, dict(kwargs))) if isinstance(leaf, Tensor)]
        inputs = tuple(dict.fromkeys(step for tensor in given for step in self._steps_of(tensor)))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if not inputs or not made:
            return
        operation = func.overloadpacket.__name__.rstrip("_")
        if operation == "mul" and len(given) == 2 and given[0] is given[1]:
            operation = "square"
        names = [argument.name for argument in func._schema.arguments]
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        known = [(tuple(tensor.shape), self._axes_of(tensor)) for tensor in given]
        found = [follow(operation, arguments, known, tuple(tensor.shape)) for tensor in made]
        largest = max(((places(axes), shape) for shape, axes in known if axes is not None), default=(0, (0,)))
        after = max(((places(axes), index) for index, axes in enumerate(found) if axes is not None), default=(0, 0))
        weight = arguments.get("weight")
        kernel = math.prod(weight.shape[2:]) if operation.endswith("convolution") and isinstance(weight, Tensor) else 1
        for axes, tensor in zip(found, made, strict=True):
            step = Step(
                operation, self.stack[-1][0] if self.stack else "", inputs, tuple(largest[1][1:]),
                tuple(made[int(after[1])].shape[1:]), largest[0], after[0], kernel,
                axes is not None and channels_are_last(axes),
            )  # fmt: skip
            index = len(self.flow.steps)
            self.flow.steps.append(step)
            self.axes.append(axes)
            setattr(tensor, STEP, index)
            if func._schema.is_mutable and tensor._base is not None:
                _, written = self.written.setdefault(_storage(tensor), (tensor, []))
                written.append(index)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
