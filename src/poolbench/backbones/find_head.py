"""The head of a network that declares none: what turns its last map into features, by what a pass shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Calls, behind, first_linear, within
from poolbench.backbones.dimensions import CONVOLUTIONS, WINDOWS, is_map, places_of
from poolbench.backbones.flow import WEIGHTED, Flow
from poolbench.backbones.function_chains import LAST, MapMax1d, MapMax2d, MapMean1d, MapMean2d
from poolbench.backbones.site import each
from poolbench.backbones.subsample import ONE_DIMENSIONAL
from poolbench.backbones.trace import shown_size
from poolbench.streams import stream

# What a head is often called. A name alone is no evidence.
HEAD_NAMES = ("head", "avgpool", "global_pool")
CLASSIFIER_NAMES = ("classifier", "fc")
WHOLE = (
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, MapMean2d, MapMax2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, MapMean1d, MapMax1d, *LAST[1], *LAST[2],
)  # fmt: skip
# With one of these before it a mean is another one: that of powers, squares or exponentials.
POWERS = ("pow", "square", "exp")
DECLARE = (
    "make it a module of the network's and declare it, with the sites, as `self.anatomy = poolbench.backbones.Anatomy("
    "sites=(…), head='…', classifier='…')`"
)


@dataclass(frozen=True)
class Head:
    """What was found.

    Args:
        name: of the module; None where there is none.
        why_none: what a message says then.
        others: modules that pool a whole map or are called like a head but are not it, and why.
    """

    name: str | None
    why_none: str
    others: Mapping[str, str]


def find_head(network: nn.Module, calls: Calls, flow: Flow, spatial: int) -> Head:
    """Find the module that stands between the last map and the classifier's input.

    It takes a map and has no parameters, which another head would drop. All that the logits have of the image goes
    through it, and no layer behind it sees a map. Such a module is the head if it is called `head`, `avgpool` or
    `global_pool`, pools the whole map, be it by a window as large, or else flattens it. `spatial` is the number of
    dimensions in which the examples extend, see `is_map`.
    """
    modules = dict(network.named_modules())
    others: dict[str, str] = {}
    found = []
    candidates = [
        name
        for name in calls
        if _could_be(name, modules, calls, spatial) and not pools_channels(modules[name], name, flow)
    ]
    for name in candidates:
        own = sum(parameter.numel() for parameter in modules[name].parameters())
        if own:
            others[name] = f"it is not the head: it has {own:,} parameters of its own, which another head would drop"
    for name in _outermost([name for name in candidates if name not in others]):
        why = _why_not(name, calls, flow, spatial)
        if why:
            others[name] = why
        else:
            found.append(name)
    # Of several one behind the other, the last that makes its map smaller: an adaptive pooling may stand before it.
    smaller = [
        name for name in found if places_of(calls[name][0].out, spatial) < places_of(calls[name][0].into, spatial)
    ]
    pooling = [name for name in found if _pools_whole(name, modules, calls, spatial)]
    for choice in (smaller, pooling, found):
        if choice:
            return Head(_inmost(choice[-1], candidates, modules, calls, flow, spatial), "", others)
    for name in calls:
        into, out = calls[name][0]
        flattens = type(modules[name]) is nn.Flatten and is_map(into, spatial) and places_of(into, spatial) > 1
        if flattens and len(out) == 1 and not _why_not(name, calls, flow, spatial):
            others[name] = _why_not_taken(name, flow, out[0])
            if not others[name]:
                return Head(name, "", others)
    return Head(None, _why_none(network, others, flow), others)


def pools_channels(module: nn.Module, name: str, flow: Flow) -> bool:
    """Whether it is a mean over the first dimensions of what is not known to be a map whose channels come last."""
    return isinstance(module, (*LAST[1], *LAST[2])) and not flow.is_given_last(name)


def find_classifier(network: nn.Module, calls: Calls, head: str) -> str | None:
    """Return the module whose first `nn.Linear` is the first layer with weights behind the head.

    That is the module `classifier` or `fc` of the network if it is in there, else the outermost one without the head.
    """
    modules = dict(network.named_modules())
    linear = next((name for name in behind(network, calls, head) if isinstance(modules[name], nn.Linear)), None)
    if linear is None:
        return None
    for name in CLASSIFIER_NAMES:
        inner = first_linear(modules[name]) if name in modules and not within(head, name) else None
        if inner is not None and linear == (f"{name}.{inner[0]}" if inner[0] else name):
            return name
    parts = linear.split(".")
    outer = (".".join(parts[: at + 1]) for at in range(len(parts)))
    return next(name for name in outer if not within(head, name))


def _outermost(names: list[str]) -> list[str]:
    return [name for name in names if not any(within(name, other) for other in names if other != name)]


def _inmost(
    name: str, candidates: list[str], modules: Mapping[str, nn.Module], calls: Calls, flow: Flow, spatial: int
) -> str:
    """Return the pooling inside of a head that does more than that, such as to normalise: the rest stays."""
    for inner in candidates:
        inside = inner != name and within(inner, name) and calls[inner][0].into == calls[name][0].into
        if inside and not _why_not(inner, calls, flow, spatial):
            given, pooled = (_of_random_map(modules[part], calls[name][0].into) for part in (name, inner))
            if pooled.shape[1] > given.shape[1]:
                continue  # the rest pools further
            if given.shape != pooled.shape or not torch.allclose(given, pooled):
                return inner
    return name


@torch.no_grad()
def _of_random_map(module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    was = module.training
    x = torch.randn(2, *shape, generator=stream(0, "head"))
    try:
        found: Tensor = module.eval()(x).flatten(1)
    finally:
        module.train(was)
    return found


def _could_be(name: str, modules: Mapping[str, nn.Module], calls: Calls, spatial: int) -> bool:
    if not is_map(calls[name][0].into, spatial) or isinstance(modules[name], torch.jit.ScriptModule):
        return False
    called = name.rpartition(".")[2] in HEAD_NAMES and first_linear(modules[name]) is None
    return called or _pools_whole(name, modules, calls, spatial)


def _pools_whole(name: str, modules: Mapping[str, nn.Module], calls: Calls, spatial: int) -> bool:
    """Whether a module pools its whole map, be it by a window that no other of the network's poolings has."""
    module = modules[name]
    if isinstance(module, WHOLE):
        return type(module).forward in [kind.forward for kind in WHOLE]
    into, out = calls[name][0]
    if type(module) not in WINDOWS or not is_map(into, spatial):
        return False
    window = _window(module)
    alike = [
        other
        for other in calls
        if other != name and type(modules[other]) is type(module) and _window(modules[other]) == window
    ]
    return window == tuple(into[1:]) and places_of(out, spatial) == 1 and not alike


def _window(module: nn.Module) -> tuple[int, ...]:
    size: Any = module.kernel_size
    return each("kernel_size", size, 1 if isinstance(module, ONE_DIMENSIONAL) else 2)


def _why_not_taken(name: str, flow: Flow, width: int) -> str:
    """Return why what flattens the map is not the head: the first layer with weights behind it takes other features."""
    way = flow.on_way()
    behind = (flow.steps[at] for at in range(flow.spans[name][0].end, len(flow.steps)) if at in way)
    first = next((step for step in behind if step.operation in WEIGHTED), None)
    if first is None or first.into[-1:] == (width,):
        return ""
    return f"it is not the head: {first.module} takes {shown_size(first.into)}, not its {width} features"


def _why_not(name: str, calls: Calls, flow: Flow, spatial: int) -> str:
    """Return why a module is not the head, "" for one that may be."""
    spans = flow.spans.get(name, [])
    if len(spans) > 1:
        return f"it is not the head: it is called {len(spans)} times in a pass"
    span, way = spans[0], flow.on_way()
    if not way.intersection(span.outputs):
        return "it is not the head: the logits do not depend on it"
    if not flow.only_way(name):
        return (
            "it is not the head: its map reaches the logits on another way, too, as past a gate that scales it or "
            "through a second pooling"
        )
    before = flow.given(name)
    while len(before) == 1 and flow.steps[before[0]].operation not in WEIGHTED:
        step = flow.steps[before[0]]
        if step.operation in POWERS and flow.around(name, before[0]):
            return f"it is not the head: with the {step.word} before it, it is a part of another pooling"
        before = list(step.inputs)
    given = places_of(calls[name][0].out, spatial)
    for index in range(span.end, len(flow.steps)):
        step = flow.steps[index]
        if index in way and step.operation in WEIGHTED and (step.kernel > 1 or step.before > 1):
            return f"it is not the head: layers behind it see maps ({step.module}: {shown_size(step.into)})"
        if index in way and step.after > given:
            return f"it is not the head: larger maps follow ({step.module}: {shown_size(step.out)})"
    return ""


def _why_none(network: nn.Module, others: Mapping[str, str], flow: Flow) -> str:
    """Return what is said where there is no head."""
    if isinstance(network, torch.jit.ScriptModule):
        return "it is TorchScript, of which no module can be exchanged: give the network as Python code"
    said = [f"{name}: {why.removeprefix('it is not the head: ')}" for name, why in others.items()]
    named = f" ({'; '.join(said)})" if said else ""
    way, modules = flow.on_way(), dict(network.named_modules())
    last = [
        step
        for step in (flow.steps[index] for index in flow.reductions() if index in way)
        if step.after == 1 and not isinstance(modules[step.module], (*WHOLE, *WINDOWS, *CONVOLUTIONS))
    ]
    if not last:
        return f"no module pools or flattens the last map on the only way to the logits{named}; {DECLARE}"
    step = last[-1]
    kind = type(modules[step.module]).__name__
    inside = f"{step.module} ({kind})" if step.module else kind
    return (
        f"its last map becomes features inside the code of {inside}, by {step.word} ({shown_size(step.into)} → "
        f"{shown_size(step.out)}){named}; {DECLARE}"
    )
