"""A network made wider or narrower: every layer's outputs by one factor, inputs as they then come."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.backbones.dimensions import CONVOLUTIONS, LINEAR_OR_CONVOLUTION, TRANSPOSED
from poolbench.backbones.trace import Call, pass_zeros, refusal
from poolbench.errors import UnsupportedError
from poolbench.streams import stream

WEIGHTED = (*LINEAR_OR_CONVOLUTION, *TRANSPOSED)
# Its multiples are spread evenly between whole numbers.
GOLDEN = (math.sqrt(5) - 1) / 2
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


@dataclass(frozen=True)
class Width:
    """How wide a network is made.

    Each number of channels is rounded at a threshold of its own: so not all layers change at the same factor, and
    sizes in between can be reached.

    Args:
        factor: the new width over the old one.
        phase: a whole number; another one is another set of thresholds.
    """

    factor: float = 1.0
    phase: int = 0

    def __call__(self, channels: int, step: int = 1) -> int:
        """Return the new number of channels, a multiple of `step`, for an old one; factor 1 gives the old one.

        >>> [Width(1.1)(channels) for channels in (16, 32, 64)], Width(1.1)(64, 8)
        ([18, 35, 70], 72)
        """
        threshold = 0.25 + 0.5 * math.modf((channels + 3 * self.phase) * GOLDEN)[0]
        return max(1, math.floor(channels * self.factor / step + threshold)) * step


OWN_WIDTH = Width()


def widen(
    network: nn.Module,
    calls: Mapping[str, Sequence[Call]],
    width: Width,
    image_shape: Sequence[int],
    *,
    seed: int,
    name: str,
) -> None:
    """Change the width of a network in place.

    The outputs of every convolution and linear layer but the last one, which gives the logits, become as many as
    `width` makes of them; a grouped convolution keeps the width of its groups, and where a module says that channels
    must be a multiple of something (`channel_multiple`), they stay one. Inputs, normalisations and hidden
    layers follow from what a pass of zeros brings. A module that counts channels by itself may have a method
    `widen(scale)`, given what makes a new number of an old one. New weights are drawn from those that the layer
    started with, with repetition, scaled by the square root of the ratio of inputs: so its own rule of starting is
    kept.

    Args:
        network: with drawn weights.
        calls: what a pass through it showed, see `trace`.
        width: how wide; factor 1 changes nothing.
        image_shape: (C, H, W) or (C, L).
        seed: for the new weights.
        name: of the network, for messages.

    Raises:
        UnsupportedError: something in the network is made for its own width.
    """
    if width.factor == 1:
        return
    modules = dict(network.named_modules())
    reached = [part for part in calls if isinstance(modules[part], WEIGHTED)]
    if not reached:
        raise UnsupportedError(f"`match`: {name} has no layer whose width could change")
    groups = [
        module.in_channels // module.groups
        for module in modules.values()
        if isinstance(module, CONVOLUTIONS) and 1 < module.groups < module.in_channels
    ]
    groups += [module.channel_multiple for module in modules.values() if hasattr(module, "channel_multiple")]
    scale = partial(width, step=math.lcm(*groups) if groups else 1)
    for module in modules.values():
        own = getattr(module, "widen", None)
        if callable(own):
            own(scale)
    hooks = []
    for part in calls:
        module, draw = modules[part], partial(stream, seed, "width", part)
        if isinstance(module, WEIGHTED):
            outputs = None if part == reached[-1] else scale
            hooks.append(module.register_forward_pre_hook(partial(_follow, outputs=outputs, draw=draw)))
        elif isinstance(module, NORMS):
            hooks.append(module.register_forward_pre_hook(_follow_norm))
    try:
        pass_zeros(network, image_shape)
    except Exception as error:  # a custom network may raise anything
        raise refusal(
            error, f"`match`: the width of {name} cannot be changed to {width.factor:.3f} times its own"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _follow(module: nn.Module, inputs: tuple[Tensor, ...], *, outputs: Callable[[int], int] | None, draw: Any) -> None:
    """Give a layer the inputs that it meets, and its new number of outputs; once."""
    assert isinstance(module, WEIGHTED)
    if hasattr(module, "_widened"):
        return
    module._widened = True  # type: ignore[assignment]
    old = module.weight
    of_outputs = int(isinstance(module, TRANSPOSED))
    made = old.shape[of_outputs] if outputs is None else outputs(old.shape[of_outputs])
    if isinstance(module, TRANSPOSED):
        if module.groups > 1:
            raise ValueError(f"a transposed convolution in {module.groups} groups")
        module.in_channels, module.out_channels = inputs[0].shape[1], made
        shape: tuple[int, ...] = (inputs[0].shape[1], made, *old.shape[2:])
    elif isinstance(module, CONVOLUTIONS):
        given = inputs[0].shape[1]
        each = module.in_channels // module.groups
        groups = given // each if module.groups > 1 else 1
        shape = (made, given // groups, *old.shape[2:])
        if given % groups or made % groups:
            raise ValueError(f"{given} channels in and {made} out cannot be {groups} groups")
        module.in_channels, module.out_channels, module.groups = given, made, groups
    else:
        shape = (made, inputs[0].shape[-1])
        module.in_features, module.out_features = shape[1], made
    generator = draw()
    ratio = math.sqrt(old.numel() / old.shape[of_outputs] / (math.prod(shape) / made))
    module.weight = nn.Parameter(_drawn(old, shape, ratio, generator))
    if module.bias is not None:
        module.bias = nn.Parameter(_drawn(module.bias, (made,), ratio, generator))


def _drawn(old: Tensor, shape: tuple[int, ...], ratio: float, generator: torch.Generator) -> Tensor:
    """Return values of `old`, with repetition, times `ratio`; those that are all equal stay as they are."""
    values = old.detach().flatten()
    if bool((values == values[0]).all()):
        return values[0].expand(shape).clone()
    return ratio * values[torch.randint(len(values), shape, generator=generator)]


def _follow_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Give a normalisation the channels that it meets."""
    x = inputs[0]
    # What is derived from LayerNorm turns maps (B, C, H, W) by itself.
    inner = type(module) is nn.LayerNorm or x.ndim != 4
    channels = x.shape[-1] if isinstance(module, nn.LayerNorm) and inner else x.shape[1]
    if isinstance(module, nn.LayerNorm):
        if tuple(module.normalized_shape) == (channels,):
            return
        module.normalized_shape = (channels,)
    else:
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        if module.num_features == channels:
            return
        module.num_features = channels
        if module.running_mean is not None and module.running_var is not None:
            module.running_mean, module.running_var = torch.zeros(channels), torch.ones(channels)
    for key in ("weight", "bias"):
        old = getattr(module, key)
        if old is not None:
            setattr(module, key, nn.Parameter(old.detach()[:1].expand(channels).clone()))
