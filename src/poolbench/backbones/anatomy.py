"""Where a network can be operated on: its sites, its head, its classifier.

A network of the project declares it (`self.anatomy = Anatomy(...)`); for any other module it is found out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from poolbench.backbones.function_pools import MapMax2d, MapMean2d
from poolbench.backbones.subsample import Subsample2d
from poolbench.backbones.trace import Call

HEAD_NAMES = ("head", "avgpool", "global_pool")
CLASSIFIER_NAMES = ("classifier", "fc")
WINDOWS = (nn.MaxPool2d, nn.AvgPool2d)
WHOLE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, MapMean2d, MapMax2d)
Calls = Mapping[str, Sequence[Call]]


@dataclass(frozen=True)
class Anatomy:
    """Qualified names of the modules that surgery may touch.

    Args:
        sites: places where a window operator goes, in the order of the forward pass.
        head: the module between the last map and the classifier's input; None where there is none to exchange.
        classifier: the module whose first `nn.Linear` follows the head's width and whose last one gives the logits;
            None where the head's output already is the logits.
    """

    sites: tuple[str, ...]
    head: str | None
    classifier: str | None


def discover(network: nn.Module, calls: Calls) -> Anatomy:
    """Find the anatomy of a network that declares none.

    Sites are, outside the head: max and average poolings with a stride above 1, strided convolutions, and
    `Subsample2d`. The head is the module `head`, `avgpool` or `global_pool` of the network that holds no `nn.Linear`;
    else the last module of such a name, or adaptive pooling or mean over the map, behind which no larger map follows:
    a gate that scales a map (squeeze-and-excitation) is none. The classifier is the module `classifier` or `fc`, else
    the outermost module without the head whose `nn.Linear` is called first after it.

    Args:
        network: in which poolings that are called as functions have been made modules.
        calls: what a pass through it showed, see `trace`. What it did not come through is nothing.
    """
    modules = dict(network.named_modules())
    head = _head(modules, calls)
    sites = tuple(name for name in calls if _is_site(modules[name]) and (head is None or not within(name, head)))
    return Anatomy(sites, head, _classifier(network, modules, calls, head))


def left_alone(network: nn.Module, anatomy: Anatomy, calls: Calls) -> Iterator[tuple[str, str]]:
    """Yield what pools or strides in a network but is neither site nor head: its name, and why it is left as it is."""
    for name, module in network.named_modules():
        if name not in calls or name in anatomy.sites or (anatomy.head is not None and within(name, anatomy.head)):
            continue
        if isinstance(module, (*WINDOWS, nn.Conv2d)) and not _is_site(module):
            why = _no_site(module)
            if why:
                yield name, why
        elif _is_site(module):
            yield name, "the network's anatomy leaves it out"
        elif isinstance(module, WHOLE):
            yield name, "it is not the head: larger maps follow, as behind a gate that scales its map"


def declared_anatomy(network: nn.Module) -> Anatomy | None:
    """Return the anatomy that a network declares, if it does."""
    declared = getattr(network, "anatomy", None)
    return declared if isinstance(declared, Anatomy) else None


def first_linear(module: nn.Module) -> tuple[str, nn.Linear] | None:
    """Return name and module of the first `nn.Linear` inside `module` (the name is empty if it is one itself)."""
    return next(((name, inner) for name, inner in module.named_modules() if isinstance(inner, nn.Linear)), None)


def within(name: str, part: str) -> bool:
    """Whether a module is another one or inside of it, by their names."""
    return name == part or name.startswith(f"{part}.")


def behind(network: nn.Module, calls: Calls, head: str) -> list[str]:
    """Return the modules without parts of their own that the pass came through behind the head, in its order."""
    modules = dict(network.named_modules())
    names = list(calls)
    return [
        name
        for name in names[names.index(head) + 1 :]
        if not any(True for _ in modules[name].children()) and not within(name, head)
    ]


def _head(modules: Mapping[str, nn.Module], calls: Calls) -> str | None:
    """Return the name of the head, None where there is none."""
    for name in HEAD_NAMES:
        if name in modules and first_linear(modules[name]) is None:
            return name if name in calls else None
    found = [
        name
        for name in calls
        if len(calls[name][0].into) == 3
        and (isinstance(modules[name], WHOLE) or name.rpartition(".")[2] in HEAD_NAMES)
        and first_linear(modules[name]) is None
    ]
    outer = [name for name in found if not any(within(name, other) for other in found if other != name)]
    names = list(calls)
    for name in reversed(outer):
        later = [part for part in names[names.index(name) + 1 :] if not within(name, part)]
        if all(_places(calls[part][0].into) <= _places(calls[name][0].out) for part in later):
            return name
        break
    return None


def _places(shape: Sequence[int]) -> int:
    """Return the number of places of a map (C, H, W), 1 of features."""
    return math.prod(shape[1:]) if len(shape) == 3 else 1


def _classifier(network: nn.Module, modules: Mapping[str, nn.Module], calls: Calls, head: str | None) -> str | None:
    for name in CLASSIFIER_NAMES:
        if name in modules and first_linear(modules[name]) is not None and not (head and within(head, name)):
            return name
    if head is None:
        return None
    linear = next((name for name in behind(network, calls, head) if isinstance(modules[name], nn.Linear)), None)
    if linear is None:
        return None
    parts = linear.split(".")
    outer = (".".join(parts[: at + 1]) for at in range(len(parts)))
    return next(name for name in outer if not within(head, name))


def _is_site(module: nn.Module) -> bool:
    return isinstance(module, Subsample2d) or (
        isinstance(module, (*WINDOWS, nn.Conv2d)) and max(_stride(module)) > 1 and not _no_site(module)
    )


def _no_site(module: nn.Module) -> str:
    """Return why a pooling or a strided convolution is no site; "" for one that is, or a convolution that is none."""
    strided = max(_stride(module)) > 1
    if isinstance(module, nn.Conv2d):
        plain = type(module) is nn.Conv2d
        return "" if plain or not strided else f"a {type(module).__name__}: only a plain torch.nn.Conv2d can be parted"
    if not strided:
        return "its stride is 1: it does not reduce the map"
    if isinstance(module, nn.MaxPool2d) and module.return_indices:
        return "it gives indices, too: no operator does"
    if isinstance(module, nn.MaxPool2d) and module.dilation not in (1, (1, 1)):
        return "its window is dilated: not every operator's can be"
    return ""


def _stride(module: nn.Module) -> tuple[int, ...]:
    stride = module.stride
    return tuple(stride) if isinstance(stride, tuple) else (int(stride),)  # type: ignore[arg-type]
