"""Settings of a recipe that change nothing beside its others: found by trying, not by lists of names.

A one-cycle schedule sets the rate and the momentum itself, so that the optimiser's own are read by nobody. Whether a
setting acts is tried on a training of two small tensors: with another value of it, do they end elsewhere?
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.checks import is_whole
from poolbench.errors import ConfigurationError
from poolbench.spec import TARGET
from poolbench.training.protocol import Protocol

PARTS = ("optimizer", "schedule")
# How torch computes a step, not which one.
MEANS = ("fused", "foreach", "capturable", "differentiable")
SHORTEST, LONGEST = 53, 2048
# The first of them with which the recipe can be built is tried in a number's place.
FACTORS = (0.5, 2.0, 0.9)
# Dimensions of a sequence, whose values lie in memory in one way alone.
SEQUENCE = 2
# A schedule's peak may lie between two of the steps that are tried.
CLOSE = 0.01


def inert_settings(protocol: Protocol, names: Collection[str] | None = None) -> dict[str, Any]:
    """Return those settings of optimiser and schedule, by dotted name, that change no step of a training.

    `names` are those to try; None: all.

    >>> from poolbench.training import Protocol
    >>> recipe = {"name": "r", "epochs": 1, "batch_size": 8, "label_smoothing": 0.0, "precision": "float32"}
    >>> recipe |= {"memory_format": "contiguous", "select": "last", "deterministic": False, "compile": False}
    >>> recipe |= {"eval_batch_size": 8, "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1, "eps": 1e-8}}
    >>> one_cycle = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1}
    >>> inert_settings(Protocol.of(recipe | {"schedule": one_cycle}))
    {'optimizer.lr': 0.1}
    """
    steps = _horizon(protocol.schedule)
    if steps is None:  # too long to try
        return {}
    before = _trained(protocol, steps)[0]
    found = {}
    for name, (part, path, value) in _settings(protocol).items():
        if path[-1] in (TARGET, *MEANS) or (names is not None and name not in names):
            continue
        others = (_trained_with(protocol, part, path, other, steps) for other in _others(value))
        ends = next((end for end in others if end is not None), None)
        if ends is not None and torch.equal(ends, before):
            found[name] = value
    return found


def require_acting(protocol: Protocol, written: Mapping[str, Any], shape: Sequence[int]) -> None:
    """Raise where a setting that changes nothing was given a value.

    A setting that is as its YAML has it was asked for by nobody: `written` is what the file says. One that says what
    the schedule makes of it (the highest rate) is true, and stays, too. `shape` is that of an example: (C, H, W) of an
    image, (C, L) of a sequence.

    Raises:
        ConfigurationError: a setting of optimiser or schedule, or the memory format, is not as written, and does
            nothing.
    """
    if len(shape) == SEQUENCE and protocol.memory_format != written.get("memory_format"):
        raise ConfigurationError(
            f"`protocol.memory_format={protocol.memory_format}` does nothing: sequences (C, L) have one memory format; "
            "leave it out"
        )
    before = {
        name: value
        for part in PARTS
        for path, value in _leaves(written.get(part) or {})
        for name in [".".join(map(str, (part, *path)))]
    }
    now = _settings(protocol)
    given = {name for name, (_, _, value) in now.items() if name not in before or before[name] != value}
    inert = inert_settings(protocol, given) if given else {}
    if not inert:
        return
    reached = _trained(protocol, _horizon(protocol.schedule) or SHORTEST)[1]
    for name, value in inert.items():
        if name not in reached or not math.isclose(value, reached[name], rel_tol=CLOSE):
            raise ConfigurationError(f"`protocol.{name}={value}` does nothing: {_instead(name, protocol)}")


def _instead(name: str, protocol: Protocol) -> str:
    """Return who decides in the setting's place, and what to use."""
    schedule = protocol.schedule or {}
    kind = str(schedule.get(TARGET, "")).rpartition(".")[2]
    key = name.split(".")[1]
    if name.startswith("optimizer.lr") and schedule:
        own = "protocol.schedule.max_lr" if "max_lr" in schedule else f"the arguments of {kind}"
        return f"{kind} sets the rate itself; use {own}, or protocol.schedule=null for a constant rate"
    if name.startswith("optimizer.") and key in ("momentum", "betas") and schedule:
        return (
            f"{kind} sets the momentum itself; use protocol.schedule.base_momentum and max_momentum, or "
            "protocol.schedule.cycle_momentum=false"
        )
    if name.startswith("schedule.") and key in ("epochs", "steps_per_epoch"):
        return f"{kind} is given the number of training steps; use protocol.epochs"
    return "no step of the training is another with another value; leave it out, or set what it depends on"


def _horizon(schedule: Mapping[str, Any] | None) -> int | None:
    """Return how many steps to try: past whatever a schedule counts."""
    counts = [value for _, value in _leaves(schedule or {}) if is_whole(value)]
    wanted = 3 * max(counts, default=0) + SHORTEST
    return wanted if wanted <= LONGEST else None


def _trained_with(protocol: Protocol, part: str, path: tuple[Any, ...], value: Any, steps: int) -> Tensor | None:
    """Return where a training ends with another value of a setting, None where it cannot be built."""
    changed = replace(protocol, **{part: _changed(getattr(protocol, part), path, value)})
    try:
        return _trained(changed, steps)[0]
    except Exception:  # another value may be out of range, for whatever optimiser it is
        return None


def _trained(protocol: Protocol, steps: int) -> tuple[Tensor, dict[str, float]]:
    """Train two tensors by the recipe.

    Returns every step's values, float64 (steps, values), and the highest value that each number of the optimiser's
    had in a step, by the name of its setting.
    """
    weights = [nn.Parameter(torch.full(shape, 0.5, dtype=torch.float64)) for shape in ((2, 2), (2,))]
    optimizer = protocol.build_optimizer(weights)
    schedule = protocol.build_schedule(optimizer, steps)
    rows = []
    reached: dict[str, float] = {}
    for step in range(steps):
        for path, value in _leaves({key: value for key, value in optimizer.param_groups[0].items() if key != "params"}):
            if isinstance(value, int | float):
                name = ".".join(map(str, ("optimizer", *path)))
                reached[name] = max(value, reached.get(name, value))
        for weight in weights:
            slope = torch.linspace(-1, 2, weight.numel(), dtype=torch.float64).view(weight.shape)
            # Its size falls and its sign changes: both matter to some rules.
            weight.grad = slope * math.cos(step) / (1 + step)
        # A closure, as Lightning gives one; here the gradients are there already.
        optimizer.step(lambda: 0.0)
        if schedule is not None:
            schedule.step()
        rows.append(torch.cat([weight.detach().flatten() for weight in weights]))
    return torch.stack(rows), reached


def _settings(protocol: Protocol) -> dict[str, tuple[str, tuple[Any, ...], Any]]:
    """Return each setting of optimiser and schedule by its dotted name: part, path in it, value."""
    return {
        ".".join(map(str, (part, *path))): (part, path, value)
        for part in PARTS
        for path, value in _leaves(getattr(protocol, part) or {})
    }


def _others(value: Any) -> Iterator[Any]:
    """Yield further values to try in a setting's place; none for what is neither a number nor true or false."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, float):
        yield from (0.5, 0.1, 2.0) if value == 0 else (value * factor for factor in FACTORS)


def _leaves(spec: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(spec, Mapping):
        for key, value in spec.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(spec, list | tuple):
        for index, value in enumerate(spec):
            yield from _leaves(value, (*path, index))
    else:
        yield path, spec


def _changed(spec: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    if isinstance(spec, Mapping):
        return {**spec, path[0]: _changed(spec[path[0]], path[1:], value)}
    return [_changed(item, path[1:], value) if index == path[0] else item for index, item in enumerate(spec)]
