"""From a specification to a module, its starting weights drawn from a stream of its own."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.spec import TARGET, build, locate
from poolbench.streams import drawing

Spec = Mapping[str, Any]
NAME = "name"
# As many channels as suit what divides them into groups or heads: divisible by 1 to 10.
MANY = 2520


def construct(
    spec: Spec,
    context: Mapping[str, Any],
    *,
    where: str,
    seed: int,
    stream: str,
    elsewhere: Iterable[tuple[Spec, Mapping[str, Any]]] = (),
) -> nn.Module:
    """Build the module that `spec` describes; what its constructor draws comes from (`seed`, `stream`).

    Args:
        spec, context, where: see `poolbench.spec.build`.
        seed, stream: of what the constructor draws.
        elsewhere: what `spec` and `context` would be at other places of networks. If the module can be built for one of
            them, its specification is right in itself, and this place is what it does not fit.

    Raises:
        ConfigurationError: an argument is wrong, the constructor fails, or what it makes is no module.
        UnsupportedError: it can be built elsewhere, but not here.
    """
    try:
        return _constructed(spec, context, where=where, seed=seed, stream=stream)
    except ConfigurationError as error:
        for other, given in elsewhere:
            try:
                # Whether it can be, without memory or numbers.
                with torch.device("meta"):
                    _constructed(other, given, where=where, seed=seed, stream=stream)
            except ConfigurationError:
                continue
            raise UnsupportedError(str(error)) from error
        raise


def _constructed(spec: Spec, context: Mapping[str, Any], *, where: str, seed: int, stream: str) -> nn.Module:
    try:
        with drawing(seed, stream):
            module = build({key: value for key, value in spec.items() if key != NAME}, context, where=where)
    except ConfigurationError:
        raise
    except Exception as error:  # a custom constructor may raise anything
        raise ConfigurationError(f"`{where}` ({spec[TARGET]}): {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ConfigurationError(
            f"`{where}` ({spec[TARGET]}) must be a torch.nn.Module or a function that returns one, "
            f"got {type(module).__name__}"
        )
    return module


def takes(spec: Spec, argument: str) -> bool:
    """Whether the constructor of `spec` can be given an argument of this name, be it through `**kwargs`."""
    try:
        parameters = inspect.signature(locate(spec[TARGET])).parameters
    except ValueError:  # some built-in classes show no signature
        return True
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def shown_arguments(spec: Spec, *, without: tuple[str, ...] = ()) -> str:
    """Return the arguments of a specification in a line.

    >>> shown_arguments({"_target_": "a.B", "k": 2, "pool": {"_target_": "a.Mean", "eps": 1}})
    'k=2, pool=Mean(eps=1)'
    """
    hidden = (TARGET, NAME, *without)
    return ", ".join(f"{key}={_shown(value)}" for key, value in spec.items() if key not in hidden)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and TARGET in value:
        arguments = shown_arguments(value)
        return value[TARGET].rpartition(".")[2] + (f"({arguments})" if arguments else "")
    return str(value)
