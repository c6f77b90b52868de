"""From a specification to a module, its starting weights drawn from a stream of its own."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from poolbench.errors import ConfigurationError
from poolbench.spec import TARGET, build, locate
from poolbench.streams import drawing

Spec = Mapping[str, Any]
NAME = "name"


def construct(spec: Spec, context: Mapping[str, Any], *, where: str, seed: int, stream: str) -> nn.Module:
    """Build the module that `spec` describes; what its constructor draws comes from (`seed`, `stream`).

    Raises:
        ConfigurationError: an argument is wrong, the constructor fails, or what it makes is no module.
    """
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
