"""A head between a network's last map and its classifier, which follows the head's width.

Where class maps are pooled straight to the logits, no classifier follows. A head of another width gets one.
"""

import copy
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import behind, first_linear
from poolbench.backbones.channels_last import ChannelsFirst, channels_first
from poolbench.backbones.construct import MANY, Spec, construct, shown_arguments
from poolbench.backbones.digest import Placed
from poolbench.backbones.dimensions import CONVOLUTIONS, LINEAR_OR_CONVOLUTION, form_for, is_map
from poolbench.backbones.native import Native
from poolbench.backbones.trace import BATCH, Call, pass_zeros, refusal, shown_size
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.pooling.heads.adaptive import said_of_grid
from poolbench.spec import TARGET, locate
from poolbench.streams import drawing

# Height and width of a last map that no head is too large for.
LARGE = 64


def fill_head(
    native: Native, spec: Spec | None, *, where: str, num_classes: int, seed: int, met: Call | None = None
) -> tuple[dict[str, Any], list[Placed], list[str]]:
    """Put the head of `spec` before the classifier.

    Returns:
        the audit's row, what stands there, if anything, and the modules behind it that were exchanged for its width.

    The head's starting weights are drawn from (seed, "head"). Its constructor may ask for `channels`, `map_size`
    and `num_classes`. `where` names the slot for messages; `met` are the shapes that the network's own head takes and
    gives now, where sites changed them.

    Where the network's own head gives the logits of class maps, and this one another width, a linear classifier from
    its features to the classes is added behind it; the row's `note` says so, and what the head has to remark on its
    map.

    Where the network's own head takes a map (H, W, C), this one is given it as (C, H, W).

    Raises:
        ConfigurationError: an argument is wrong, or it is no head.
        UnsupportedError: there is no head to exchange, or it does not fit the map or what follows.
    """
    part = native.anatomy.head
    if part is None:
        if spec is None:
            return _row("", "", "", "", None, gives_logits=False, note=native.why_no_head), [], []
        raise UnsupportedError(f"`{where}`: {native.name} has no head to act on: {native.why_no_head}")
    own, call = native.network.get_submodule(part), met or native.calls[part][0]
    # What the layer behind the head was made for.
    width = math.prod(native.calls[part][0].out)
    if spec is None:
        features = math.prod(call.out)
        exchanged = _follow_width(native, part, width, features, seed=seed)
        placed = [Placed(part, own, call.into, None)] if is_map(call.into, native.spatial) else []
        kind = type(own).__name__
        row = _row(part, kind, kind, "", features, gives_logits=False, note=_own_note(own, call))
        return row, placed, exchanged
    if not is_map(call.into, native.spatial):
        raise UnsupportedError(
            f"`{where}`: {part!r} of {native.name} must be given a map (C, H, W), or (C, L) in 1-D, to be exchanged, "
            f"it is given {shown_size(call.into)}"
        )
    if getattr(locate(spec[TARGET]), "kind", "head") != "head":
        raise ConfigurationError(
            f"`{where}` ({spec[TARGET]}) must take the whole map to features (B, F); a window operator belongs into "
            "`pooling.downsample`"
        )
    is_last = native.channels_last
    call = call._replace(into=channels_first(call.into)) if is_last else call
    channels, *map_size = call.into
    spec = form_for(spec, len(map_size), where=where, place=f"the head of {native.name}")
    context = {"channels": channels, "map_size": tuple(map_size), "num_classes": num_classes}
    # A large map of many channels, and of as many as here: either may be what does not fit.
    larger = {"map_size": (LARGE,) * len(map_size)}
    elsewhere = [(spec, context | larger), (spec, context | larger | {"channels": MANY})]
    head = construct(spec, context, where=where, seed=seed, stream="head", elsewhere=elsewhere)
    features = _features(head, spec, call, where=where, name=native.name)
    gives_logits = bool(getattr(head, "gives_logits", False))
    kind = type(head).__name__
    follow = _Follow.of(native, part)
    added = follow.ends and features != width and width == num_classes
    if follow.consumer is None and features != width and not added:
        raise UnsupportedError(
            f"`{where}` ({kind}) gives {features} features of the map {shown_size(call.into)}, but no classifier "
            f"follows the head of {native.name}: it must keep the width, {width}"
        )
    # What comes next may want a map, if only of one place.
    given, one = num_classes if added else features, [1] * len(map_size)
    to_map = [nn.Unflatten(1, (*one, given) if is_last else (given, *one))] if follow.wants_map else []
    stands = nn.Sequential(ChannelsFirst(), head) if is_last else head
    if added:
        native.replace(part, _classified(stands, part, features, num_classes, to_map, seed=seed))
    else:
        native.replace(part, nn.Sequential(stands, *to_map) if to_map else stands)
    exchanged, classifier = [], 0
    if follow.consumer is not None and gives_logits:
        native.replace(part, stands)
        exchanged = [*follow.norms, native.anatomy.classifier or follow.consumer]
        for name in exchanged:
            classifier += _count(native.network.get_submodule(name))
            native.replace(name, nn.Identity())
    elif follow.consumer is not None and features != width:
        for name in follow.norms:
            native.replace(name, _norm(native.network.get_submodule(name), width, features, name))
        _widen(native, follow.consumer, features, seed=seed)
        exchanged = [*follow.norms, follow.consumer]
    note = _note(own, head, map_size, features if added else None, classifier)
    row = _row(part, type(own).__name__, kind, shown_arguments(spec), features, gives_logits=gives_logits, note=note)
    return row, [Placed(part, head, call.into, None)], exchanged


def _follow_width(native: Native, part: str, width: int, features: int, *, seed: int) -> list[str]:
    """Let what is behind the network's own head take `features` instead of `width`; return what was exchanged."""
    if features == width:
        return []
    consumer = _Follow.of(native, part).consumer
    if consumer is None:
        raise UnsupportedError(
            f"`pooling.resizes`: the head of {native.name} gives {features} features instead of {width}, and no "
            "classifier follows that could take them"
        )
    _widen(native, consumer, features, seed=seed)
    return [consumer]


def give_map(native: Native, head: nn.Module) -> bool:
    """Let a head give a map of one place (B, F, 1, 1), as the network's own one does; return whether it now does.

    Code behind it that says `x.squeeze(3)` or `x[..., 0, 0]` wants one.
    """
    part = native.anatomy.head
    stands = None if part is None else native.network.get_submodule(part)
    if isinstance(stands, nn.Sequential) and native.channels_last:
        is_alone = len(stands) == 2 and stands[1] is head
    else:
        is_alone = stands is head
    if part is None or stands is None or not is_alone:
        return False
    call = native.calls[part][0]
    if not is_map(call.out, native.spatial) or not is_map(call.into, native.spatial):
        return False
    features, one = pass_zeros(stands, call.into).shape[1], [1] * (len(call.out) - 1)
    shape = (*one, features) if native.channels_last else (features, *one)
    native.replace(part, nn.Sequential(stands, nn.Unflatten(1, shape)))
    return True


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _note(own: nn.Module, head: nn.Module, map_size: Sequence[int], added: int | None, classifier: int) -> str:
    """Return what a head has to remark on its map, what went with the network's own one, and what was put behind it.

    `added` is the number of features of an added classifier, `classifier` the parameters of one that went.
    """
    remark: Any = getattr(head, "remark", None)
    notes = [] if remark is None else [str(remark(tuple(map_size)))]
    for number, whose in ((_count(own), "the network's own head"), (classifier, "its classifier")):
        if number:
            notes.append(f"{number:,} parameters of {whose} went with it")
    if added is not None:
        notes.append(
            f"a linear classifier of {added} features was added: this head does not pool the class maps straight to "
            "the logits"
        )
    return "; ".join(filter(None, notes))


def _own_note(own: nn.Module, call: Call) -> str:
    """Return what is to be said of a network's own head."""
    grids = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d)
    if isinstance(own, grids) and len(call.into) == len(call.out):
        return said_of_grid(*((1, *shape[1:])[-2:] for shape in (call.out, call.into)))
    return ""


def _classified(
    head: nn.Module, part: str, features: int, num_classes: int, more: Sequence[nn.Module], *, seed: int
) -> nn.Module:
    """Return the head, `pool` by name, with a linear classifier behind it, `linear`, and then `more`."""
    with drawing(seed, f"weight {part}.linear {num_classes}x{features}"):
        linear = nn.Linear(features, num_classes)
    nn.init.zeros_(linear.bias)  # what two arms share starts equal, and torch draws biases by the width
    return nn.Sequential(OrderedDict(pool=head, linear=linear)).extend(more)


@dataclass(frozen=True)
class _Follow:
    """What comes behind a head.

    Args:
        consumer: the first linear layer or 1x1 convolution, whose width follows the head's; None where there is none.
        norms: normalisations before it, whose widths do, too.
        wants_map: whether the first layer is given a map (C, 1, 1), not features.
        ends: whether no linear layer or convolution follows: where the width is that of the classes, the head gives
            the logits of class maps.
    """

    consumer: str | None
    norms: tuple[str, ...]
    wants_map: bool
    ends: bool

    @classmethod
    def of(cls, native: Native, head: str) -> "_Follow":
        """Return what follows the network's own head."""
        modules = dict(native.network.named_modules())
        norms: list[str] = []
        consumer, declared = None, native.anatomy.classifier
        later = behind(native.network, native.calls, head)
        for name in later:
            module = modules[name]
            if isinstance(module, nn.Linear) or (isinstance(module, CONVOLUTIONS) and max(module.kernel_size) == 1):
                consumer = name
                break
            if any(True for _ in module.parameters()):
                norms.append(name)
        ends = consumer is None and declared is None
        if consumer is None and declared is not None:
            found = first_linear(native.network.get_submodule(declared))
            if found is None:
                raise ConfigurationError(f"`backbone`: the classifier {declared!r} of {native.name} holds no nn.Linear")
            consumer = f"{declared}.{found[0]}" if found[0] else declared
        elif consumer is not None and declared is None:
            consumer = None if isinstance(modules[consumer], CONVOLUTIONS) else consumer
        first = native.calls[later[0]][0].into if later else ()
        return cls(consumer, tuple(norms) if consumer else (), is_map(first, native.spatial), ends)


def _norm(old: nn.Module, width: int, features: int, name: str) -> nn.Module:
    """Return a normalisation of `features` channels in the place of one of `width`."""
    new = copy.deepcopy(old)
    if isinstance(new, nn.LayerNorm) and tuple(new.normalized_shape) == (width,):
        new.normalized_shape = (features,)
    elif isinstance(new, nn.BatchNorm1d | nn.BatchNorm2d) and new.num_features == width:
        new.num_features = features
        for key, value in (("running_mean", torch.zeros(features)), ("running_var", torch.ones(features))):
            if getattr(new, key) is not None:
                setattr(new, key, value)
    else:
        new = nn.Identity()
    if not isinstance(new, nn.Identity):
        for key, value in (("weight", torch.ones(features)), ("bias", torch.zeros(features))):
            if getattr(new, key) is not None:
                setattr(new, key, nn.Parameter(value))
        return new
    raise UnsupportedError(
        f"{name} ({type(old).__name__}) behind the head is made for {width} features and cannot be made for {features}"
    )


def _row(
    name: str, native: str, operator: str, arguments: str, features: int | None, *, gives_logits: bool, note: str = ""
) -> dict[str, Any]:
    return {
        "name": name,
        "native": native,
        "operator": operator,
        "arguments": arguments,
        "features": features,
        "gives_logits": gives_logits,
        "note": note,
    }


def _features(head: nn.Module, spec: Spec, call: Call, *, where: str, name: str) -> int:
    """Return the number of features that the head gives for the network's last map."""
    try:
        output = pass_zeros(head, call.into)
    except Exception as error:  # a custom head may raise anything
        what = f"`{where}` ({type(head).__name__}) fails on the last map of {name}, {shown_size(call.into)}"
        raise refusal(error, what) from error
    got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[0] != BATCH or output.shape[1] < 1:
        raise ConfigurationError(
            f"`{where}` ({spec[TARGET]}) must give features of shape (B, F), got {got} for the map "
            f"({BATCH}, {', '.join(map(str, call.into))})"
        )
    return output.shape[1]


def _widen(native: Native, part: str, width: int, *, seed: int) -> None:
    """Let the first layer behind the head follow its width; its bias is kept."""
    old = native.network.get_submodule(part)
    assert isinstance(old, LINEAR_OR_CONVOLUTION)
    if type(old).forward not in [kind.forward for kind in LINEAR_OR_CONVOLUTION] or not isinstance(
        old._parameters.get("weight"), nn.Parameter
    ):
        raise UnsupportedError(
            f"{part} ({type(old).__name__}) behind the head must follow its width, {width}, but is no plain "
            "torch.nn.Linear or convolution, and what else it computes is not known: take a head that keeps the width, "
            f"{old.weight.shape[1]}"
        )
    made = old.weight.shape[0]
    new: nn.Linear | nn.Conv2d | nn.Conv1d
    with drawing(seed, f"weight {part} {made}x{width}"), torch.device(old.weight.device):
        if isinstance(old, CONVOLUTIONS):
            kind = nn.Conv1d if isinstance(old, nn.Conv1d) else nn.Conv2d
            new = kind(width, made, 1, bias=old.bias is not None, dtype=old.weight.dtype)
        else:
            new = nn.Linear(width, made, bias=old.bias is not None, dtype=old.weight.dtype)
    if old.bias is not None:
        new.bias = old.bias
    native.replace(part, new)
