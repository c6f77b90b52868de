"""Where a network can be operated on: its sites, its head, its classifier.

A network of the project declares it (`self.anatomy = Anatomy(...)`); for any other module it is found out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from poolbench.backbones.dimensions import CONVOLUTIONS, WINDOWS
from poolbench.backbones.flow import Flow
from poolbench.backbones.subsample import ONE_DIMENSIONAL, SUBSAMPLES
from poolbench.backbones.trace import Call

# A convolution whose kernel is its stride and at least so large cuts the image into patches.
PATCH = 8
MAXIMA = (nn.MaxPool2d, nn.MaxPool1d)
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


def declared_anatomy(network: nn.Module) -> Anatomy | None:
    """Return the anatomy that a network declares, if it does."""
    declared = getattr(network, "anatomy", None)
    return declared if isinstance(declared, Anatomy) else None


def first_linear(module: nn.Module) -> tuple[str, nn.Linear] | None:
    """Return name and module of the first `nn.Linear` inside `module` (the name is empty if it is one itself)."""
    return next(((name, inner) for name, inner in module.named_modules() if isinstance(inner, nn.Linear)), None)


def within(name: str, part: str) -> bool:
    """Whether a module is another one or inside of it, by their names; every module is inside of the network, ""."""
    return not part or name == part or name.startswith(f"{part}.")


def behind(network: nn.Module, calls: Calls, head: str) -> list[str]:
    """Return the modules without parts of their own that the pass came through behind the head, in its order."""
    modules = dict(network.named_modules())
    names = list(calls)
    return [
        name
        for name in names[names.index(head) + 1 :]
        if not any(True for _ in modules[name].children()) and not within(name, head)
    ]


def sites_of(network: nn.Module, calls: Calls, head: str | None, flow: Flow, spatial: int) -> tuple[str, ...]:
    """Return where a window operator can go.

    These are, outside the head: max and average poolings with a stride above 1, strided convolutions, and
    `Subsample2d`, each in 1-D as well where examples are sequences (`spatial` is 1); but no convolution that cuts the
    image into patches.
    """
    modules = dict(network.named_modules())
    patches = patch_embeddings(network, calls, flow)
    return tuple(
        name
        for name in calls
        if is_site(modules[name], spatial) and name not in patches and (head is None or not within(name, head))
    )


def patch_embeddings(network: nn.Module, calls: Calls, flow: Flow) -> tuple[str, ...]:
    """Return the convolutions that cut the image into patches: no layer before them, their kernel their stride, large.

    A network that looks at an image in several scales has several.
    """
    modules = dict(network.named_modules())
    return tuple(
        name
        for name in calls
        if isinstance(conv := modules[name], CONVOLUTIONS)
        and tuple(conv.kernel_size) == tuple(conv.stride)
        and min(conv.stride) >= PATCH
        and flow.is_first(name)
    )


def is_site(module: nn.Module, spatial: int) -> bool:
    """Whether a window operator can stand for a module, in a network whose examples extend in so many dimensions.

    In one for images a pooling in 1-D sees tokens, or channels, and no map.
    """
    if spatial == 2 and isinstance(module, ONE_DIMENSIONAL):
        return False
    return isinstance(module, SUBSAMPLES) or (
        isinstance(module, (*WINDOWS, *CONVOLUTIONS)) and max(stride_of(module)) > 1 and not why_no_site(module)
    )


def why_no_site(module: nn.Module) -> str:
    """Return why a pooling or a strided convolution is no site; "" for one that is, or a convolution that is none."""
    strided = max(stride_of(module)) > 1
    kind = type(module).__name__
    if isinstance(module, CONVOLUTIONS):
        plain = type(module) in CONVOLUTIONS
        of = "Conv1d" if isinstance(module, nn.Conv1d) else "Conv2d"
        return "" if plain or not strided else f"a {kind}: only a plain torch.nn.{of} can be parted"
    if not strided:
        return "its stride is 1: it does not reduce the map"
    if type(module).forward not in [window.forward for window in WINDOWS]:
        return f"a {kind} with a forward method of its own: what else it computes would be lost"
    if isinstance(module, MAXIMA) and module.return_indices:
        return "it gives indices, too: no operator does"
    if isinstance(module, MAXIMA) and module.dilation not in (1, (1,), (1, 1)):
        return "its window is dilated: not every operator's can be"
    return ""


def stride_of(module: nn.Module) -> tuple[int, ...]:
    """Return the stride of a pooling or convolution."""
    stride = module.stride
    return tuple(stride) if isinstance(stride, tuple | list) else (int(stride),)  # type: ignore[arg-type]
