"""A head between a network's last map and its classifier, which follows the head's width."""

import math
from typing import Any

from torch import Tensor, nn

from poolbench.backbones.anatomy import first_linear
from poolbench.backbones.construct import Spec, construct, shown_arguments
from poolbench.backbones.native import Native
from poolbench.backbones.trace import BATCH, Call, pass_zeros, refusal, shown_size
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.spec import TARGET, locate
from poolbench.streams import drawing


def fill_head(
    native: Native, spec: Spec | None, *, where: str, num_classes: int, seed: int
) -> tuple[dict[str, Any], list[nn.Module]]:
    """Put the head of `spec` before the classifier; return the audit's row and the head, if it is a new one.

    The head's starting weights are drawn from (seed, "head"). Its constructor may ask for `channels`, `map_size`
    and `num_classes`. `where` names the slot for messages.

    Raises:
        ConfigurationError: an argument is wrong, or it is no head.
        UnsupportedError: there is no head to exchange, or it does not fit the map or what follows.
    """
    part = native.anatomy.head
    if part is None:
        if spec is None:
            return _row("", "", "", None, gives_logits=False), []
        raise UnsupportedError(
            f"`{where}`: {native.name} has no head to act on: it passes no map through a module named head, avgpool "
            "or global_pool"
        )
    own, call = native.network.get_submodule(part), native.calls[part][0]
    width = math.prod(call.out)
    if spec is None:
        return _row(type(own).__name__, type(own).__name__, "", width, gives_logits=False), []
    if len(call.into) != 3:
        raise UnsupportedError(
            f"`{where}`: {part!r} of {native.name} must be given a map (C, H, W) to be exchanged, "
            f"it is given {shown_size(call.into)}"
        )
    if getattr(locate(spec[TARGET]), "kind", "head") != "head":
        raise ConfigurationError(
            f"`{where}` ({spec[TARGET]}) must take the whole map to features (B, F); a window operator belongs into "
            "`pooling.downsample`"
        )
    channels, *map_size = call.into
    context = {"channels": channels, "map_size": tuple(map_size), "num_classes": num_classes}
    head = construct(spec, context, where=where, seed=seed, stream="head")
    features = _features(head, spec, call, where=where, name=native.name)
    gives_logits = bool(getattr(head, "gives_logits", False))
    kind = type(head).__name__
    native.replace(part, head)
    if native.anatomy.classifier is None:
        if features != width:
            raise UnsupportedError(
                f"`{where}` ({kind}) gives {features} features of the map {shown_size(call.into)}, but no classifier "
                f"follows the head of {native.name}: it must keep the width, {width}"
            )
    elif gives_logits:
        native.replace(native.anatomy.classifier, nn.Identity())
    else:
        _widen(native, native.anatomy.classifier, features, seed=seed)
    return _row(type(own).__name__, kind, shown_arguments(spec), features, gives_logits=gives_logits), [head]


def _row(native: str, operator: str, arguments: str, features: int | None, *, gives_logits: bool) -> dict[str, Any]:
    return {
        "native": native,
        "operator": operator,
        "arguments": arguments,
        "features": features,
        "gives_logits": gives_logits,
    }


def _features(head: nn.Module, spec: Spec, call: Call, *, where: str, name: str) -> int:
    """Return the number of features that the head gives for the network's last map."""
    try:
        output = pass_zeros(head, call.into)
    except Exception as error:  # a head of one's own may raise anything
        what = f"`{where}` ({type(head).__name__}) fails on the last map of {name}, {shown_size(call.into)}"
        raise refusal(error, what) from error
    got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[0] != BATCH or output.shape[1] < 1:
        raise ConfigurationError(
            f"`{where}` ({spec[TARGET]}) must give features of shape (B, F), got {got} for the map "
            f"({BATCH}, {', '.join(map(str, call.into))})"
        )
    return output.shape[1]


def _widen(native: Native, classifier: str, width: int, *, seed: int) -> None:
    """Let the classifier's first layer follow the head's width; its bias is kept."""
    found = first_linear(native.network.get_submodule(classifier))
    if found is None:
        raise ConfigurationError(f"`backbone`: the classifier {classifier!r} of {native.name} holds no nn.Linear")
    inner, old = found
    if old.in_features == width:
        return
    part = f"{classifier}.{inner}" if inner else classifier
    with drawing(seed, f"weight {part} {old.out_features}x{width}"):
        new = nn.Linear(
            width, old.out_features, bias=old.bias is not None, device=old.weight.device, dtype=old.weight.dtype
        )
    if old.bias is not None:
        new.bias = old.bias
    native.replace(part, new)
