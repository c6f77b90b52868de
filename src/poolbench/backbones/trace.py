"""A forward pass of zeros: what shapes its parts meet, and where it ends if it cannot go through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from poolbench.backbones.watch import watching_calls
from poolbench.errors import ConfigurationError, UnsupportedError

BATCH = 2
Shape = tuple[int, ...]


class Call(NamedTuple):
    """Shapes, without the batch's dimension, of what one call of a module took and gave."""

    into: Shape
    out: Shape


@dataclass(frozen=True)
class Trace:
    """What a forward pass showed.

    Args:
        calls: the calls of each module that takes a tensor and gives one, in the order in which the modules first
            end. A module that is called twice, as where one pooling serves two places, has two.
        out: shape of what the network gave for an image.
    """

    calls: dict[str, list[Call]]
    out: Shape


def trace(network: nn.Module, image_shape: Sequence[int], *, name: str) -> Trace:
    """Pass zeros of `image_shape`, (C, H, W) or (C, L), through a network and note the calls of its modules.

    Raises:
        UnsupportedError: sizes do not fit; the last layer that was reached is named.
        ConfigurationError: anything else is wrong in the network.
    """
    calls: dict[str, list[Call]] = {}
    channels, *sizes = image_shape
    kind = f"images of {shown_size(sizes)}" if len(sizes) == 2 else f"sequences of length {shown_size(sizes)}"
    where = f"{name} cannot take {kind} with {channels} channels; the last layer reached was"
    output, reached, error = _pass(network, image_shape, calls)
    if error is not None:
        _require_dimensions(network, sizes, name)
        raise refusal(error, f"{where} {reached}") from error
    if not isinstance(output, Tensor):
        raise ConfigurationError(f"{name} must give a tensor of logits (B, num_classes), got {type(output).__name__}")
    return Trace(calls, tuple(output.shape[1:]))


def _require_dimensions(network: nn.Module, sizes: Sequence[int], name: str) -> None:
    """Raise where all convolutions of a network are for images and its examples are sequences, or the reverse."""
    found = {kind for part in network.modules() for kind in (nn.Conv1d, nn.Conv2d) if isinstance(part, kind)}
    if found == {nn.Conv2d} and len(sizes) == 1:
        raise UnsupportedError(
            f"{name} takes images (C, H, W), but examples are sequences of {shown_size(sizes)} places; "
            "choose a network for sequences"
        )
    if found == {nn.Conv1d} and len(sizes) == 2:
        raise UnsupportedError(
            f"{name} takes sequences (C, L), but examples are images of {shown_size(sizes)}; "
            "choose a network for images"
        )


def calls_reached(network: nn.Module, image_shape: Sequence[int]) -> dict[str, list[Call]]:
    """Return the calls of a network's modules, as `trace` does, as far as a pass of zeros goes."""
    calls: dict[str, list[Call]] = {}
    _pass(network, image_shape, calls)
    return calls


def _pass(
    network: nn.Module, image_shape: Sequence[int], calls: dict[str, list[Call]]
) -> tuple[Any, str, Exception | None]:
    """Pass zeros and fill `calls`; return what came out, the last layer that was reached, and what ended it early."""
    reached = "its input"

    def enter(part: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal reached
        if not part:
            return
        met = f", given {shown_size(inputs[0].shape[1:])}" if inputs and isinstance(inputs[0], Tensor) else ""
        reached = f"{part} ({type(module).__name__}{met})"

    def leave(part: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if part and inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            calls.setdefault(part, []).append(Call(tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))

    try:
        with watching_calls(network, enter, leave):
            return pass_zeros(network, image_shape), reached, None
    except Exception as error:  # a custom network or operator may raise anything
        return None, reached, error


@torch.no_grad()
def pass_zeros(
    module: nn.Module, shape: Sequence[int], memory_format: torch.memory_format = torch.contiguous_format
) -> Any:
    """Return what `module` gives in evaluation mode for a batch of two zeros of `shape`."""
    was_training = module.training
    try:
        return module.eval()(torch.zeros(BATCH, *shape).contiguous(memory_format=memory_format))
    finally:
        module.train(was_training)


def refusal(error: Exception, what: str) -> ConfigurationError:
    """Return the error for a pass that failed: sizes that do not fit, as torch says it, or a mistake in the code."""
    sizes = RuntimeError | ValueError | IndexError | AssertionError
    misfit = isinstance(error, sizes) and not isinstance(error, NotImplementedError)
    kind = UnsupportedError if misfit else ConfigurationError
    return kind(f"{what}: {error}" if misfit else f"{what}: {type(error).__name__}: {error}")


def shown_size(shape: Sequence[int]) -> str:
    """Return a shape in words.

    >>> shown_size((16, 8, 8))
    '16x8x8'
    """
    return "x".join(map(str, shape))
