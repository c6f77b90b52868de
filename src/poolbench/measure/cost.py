"""What a network costs without being timed: parameters, multiply-adds, the poolings' own work, memory."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from poolbench.measure.memory import StepMemory, step_memory
from poolbench.measure.receptive_field import ReceptiveField, marked, watching

# A batch of one would stop a normalisation in training mode where the map has one place.
MEMORY_BATCH = 2


@dataclass(frozen=True)
class Part:
    """What one module costs for one image.

    Args:
        name: of the module.
        parameters: of it and what is in it.
        multiply_adds: as `cost` counts them.
        receptive_field: what a value of its output sees of the image; None where that has no meaning.
        pooling: the own work of the poolings in it, as `cost` counts it: `pooling_operations` and the like.
    """

    name: str
    parameters: int
    multiply_adds: int
    receptive_field: ReceptiveField | None
    pooling: dict[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Costs:
    """What a network costs.

    Args:
        figures: as `cost` returns them.
        parts: what the modules that were asked for cost, by name.
    """

    figures: dict[str, Any]
    parts: dict[str, Part] = field(default_factory=dict)


def cost(
    network: nn.Module,
    input_shape: Sequence[int],
    *,
    operators: Sequence[nn.Module] = (),
    batch_size: int = MEMORY_BATCH,
) -> dict[str, Any]:
    """Return what `network` costs for images of `input_shape` (C, H, W); see `costs` for the arguments.

    - `parameters`, `parameters_trainable`
    - `multiply_adds` of one image: half of what torch's FlopCounterMode counts, since it takes a multiply-add for two
      operations. It sees convolutions, matrix products and attention, as torch calls them. It does not see additions
      of a bias, normalisation, activations, and none of a pooling's own comparisons, sums and sorting.
    - `pooling_operations`, `pooling_bytes_read`, `pooling_bytes_written` of one image: the operators' own work by the
      formula that each of them states (`work`), float32; None where an operator states none.
    - `kept_bytes`: what autograd keeps for the backward pass of a batch, see `StepMemory`; `peak_bytes`: the most that
      is alive in a training step; `memory_batch_size`: of that batch.
    - `memory_method`: `"fake"`: counted at every operation of a forward and backward pass that computes nothing;
      `"run"`: likewise of a pass that was run, because some operator needs numbers.

    >>> found = cost(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2))
    >>> found["parameters"], found["multiply_adds"], found["kept_bytes"]
    (26, 24, 96)
    """
    return costs(network, input_shape, operators=operators, batch_size=batch_size).figures


def costs(
    network: nn.Module,
    input_shape: Sequence[int],
    *,
    operators: Sequence[nn.Module] = (),
    parts: Sequence[str] = (),
    batch_size: int = MEMORY_BATCH,
) -> Costs:
    """Return what a network and some of its modules cost, by passes that compute nothing (fake tensors).

    The passes run on a copy; nothing of the network or of the caller changes, torch's generators included. Where an
    operator cannot be passed without numbers, the passes are run.

    Args:
        network: takes (B, C, H, W).
        input_shape: (C, H, W).
        operators: the poolings, modules of the network.
        parts: names of modules whose own cost is asked for.
        batch_size: images of the training step whose memory is counted.
    """
    names = {id(module): name for name, module in network.named_modules()}
    pooling = [names[id(operator)] for operator in operators if id(operator) in names]
    try:
        with _fake(network) as probe:
            seen, memory, method = *_passes(probe, input_shape, pooling, batch_size), "fake"
    except Exception:  # what an operator makes of tensors without numbers may raise anything
        with _real(network) as probe:
            seen, memory, method = *_passes(probe, input_shape, pooling, batch_size), "run"
    figures = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "parameters_trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "multiply_adds": seen.multiply_adds.get("", 0),
        **_work(network, pooling, seen.maps),
        "kept_bytes": memory.kept,
        "peak_bytes": memory.peak,
        "memory_batch_size": batch_size,
        "memory_method": method,
    }
    found = {
        name: Part(
            name,
            sum(p.numel() for p in network.get_submodule(name).parameters()),
            seen.multiply_adds.get(name, 0),
            seen.fields.get(name),
            _work(network, [inner for inner in pooling if f"{inner}.".startswith(f"{name}.")], seen.maps),
        )
        for name in parts
    }
    return Costs(figures, found)


@dataclass(frozen=True)
class _Seen:
    """What a forward pass of one image showed."""

    multiply_adds: dict[str, int]
    fields: dict[str, ReceptiveField]
    maps: dict[str, list[tuple[int, ...]]]


def _passes(
    probe: nn.Module, input_shape: Sequence[int], pooling: Sequence[str], batch_size: int
) -> tuple[_Seen, StepMemory]:
    # A network need not have parameters; where its first one (or buffer) lies and in which dtype, it wants its input.
    first = next(itertools.chain(probe.parameters(), probe.buffers()), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    place: dict[str, Any] = {"device": first.device, "dtype": dtype}
    maps: dict[str, list[tuple[int, ...]]] = {}
    hooks = [
        probe.get_submodule(name).register_forward_pre_hook(partial(_note, maps.setdefault(name, [])))
        for name in pooling
    ]
    probe.eval()
    # The counter looks for the gradient of what modules are given, which a view of a parameter has not in such a pass.
    learned = [parameter for parameter in probe.parameters() if parameter.requires_grad and parameter.is_leaf]
    for parameter in learned:
        parameter.requires_grad_(False)
    with torch.no_grad(), watching(probe) as fields, FlopCounterMode(display=False) as counter:
        probe(marked(torch.zeros(1, *input_shape, **place)))
    for parameter in learned:
        parameter.requires_grad_()
    for hook in hooks:
        hook.remove()
    memory = step_memory(probe.train(), torch.zeros(batch_size, *input_shape, **place))
    return _Seen(_by_module(counter, probe), fields, maps), memory


def _note(maps: list[tuple[int, ...]], module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    maps.append(tuple(inputs[0].shape[1:]))


def _by_module(counter: FlopCounterMode, network: nn.Module) -> dict[str, int]:
    """Return the multiply-adds by module name; those of the whole network under ""."""
    found = {"": counter.get_total_flops() // 2}
    prefix = f"{type(network).__name__}."
    for name, counts in counter.get_flop_counts().items():
        if name.startswith(prefix):
            found[name.removeprefix(prefix)] = sum(counts.values()) // 2
    return found


def _work(
    network: nn.Module, pooling: Sequence[str], maps: Mapping[str, Sequence[tuple[int, ...]]]
) -> dict[str, int | None]:
    keys = ("operations", "bytes_read", "bytes_written")
    sums: dict[str, int | None] = dict.fromkeys((f"pooling_{key}" for key in keys), 0)
    for name in pooling:
        for shape in maps.get(name, ()):
            one = _stated(network.get_submodule(name), shape)
            for key in keys:
                before = sums[f"pooling_{key}"]
                sums[f"pooling_{key}"] = None if before is None or one is None else before + getattr(one, key)
    return sums


def _stated(operator: nn.Module, shape: tuple[int, ...]) -> Any:
    """Return the work that an operator states, None where it is one of the user's that states none."""
    try:
        return operator.work(shape) if hasattr(operator, "work") else None  # type: ignore[operator]
    except NotImplementedError:
        return None


@contextmanager
def _fake(network: nn.Module) -> Iterator[nn.Module]:
    """Give a copy whose tensors have everything but numbers."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    owned = itertools.chain(network.parameters(), network.buffers())
    probe = copy.deepcopy(network, {id(tensor): mode.from_tensor(tensor) for tensor in owned})
    with torch.random.fork_rng(devices=[]), mode:
        yield probe


@contextmanager
def _real(network: nn.Module) -> Iterator[nn.Module]:
    first = next(itertools.chain(network.parameters(), network.buffers()), torch.empty(0))
    devices = [first.device] if first.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield copy.deepcopy(network)
