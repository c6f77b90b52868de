"""From what a YAML says to an object: `{_target_: package.module.Class, argument: value}`.

A specification is a plain dictionary. Its `_target_` is a dotted path to any importable class or function, so a
custom class needs no registration; the other keys are arguments. `context` holds what only the caller knows
(a site's kernel, the number of channels): each of its entries is passed if the target has a parameter of that name,
unless the specification sets it. Arguments are checked against the signature before anything is called, all
mistakes reported together.
"""

import inspect
import math
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from poolbench.errors import ConfigurationError, unknown_name

TARGET = "_target_"


def locate(path: str) -> Callable[..., Any]:
    """Return the class or function at a dotted path.

    >>> locate("collections.OrderedDict").__name__
    'OrderedDict'
    """
    if not isinstance(path, str) or "." not in path:
        raise ConfigurationError(f"`{TARGET}` must be a dotted path such as package.module.Class, got {path!r}")
    try:
        found = pkgutil.resolve_name(path)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"`{TARGET}`: {path}: no module named {error.name!r}; is its folder on PYTHONPATH or installed?"
        ) from error
    except AttributeError as error:
        parent, missing = _last_known(path)
        public = [name for name in dir(pkgutil.resolve_name(parent)) if not name.startswith("_")]
        raise unknown_name(f"`{TARGET}` in {parent}", missing, public) from error
    except Exception as error:  # a user's own module can raise anything when it is imported
        last = traceback.extract_tb(error.__traceback__)[-1]
        file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (last.filename, last.lineno)
        raise ConfigurationError(
            f"`{TARGET}`: {path} cannot be imported: {type(error).__name__}: {error} ({file}:{line})"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"`{TARGET}`: {path} is a {type(found).__name__}, not a class or function")
    return found


def _last_known(path: str) -> tuple[str, str]:
    """Return the longest beginning of a dotted path that there is, and the name behind it that is missing."""
    parent, _, missing = path.rpartition(".")
    while True:
        try:
            pkgutil.resolve_name(parent)
        except AttributeError:
            parent, _, missing = parent.rpartition(".")
        else:
            return parent, missing


def accepts(target: Callable[..., Any], name: str) -> bool:
    """Whether `target` has a parameter of this very name (`**kwargs` does not count)."""
    try:
        return name in inspect.signature(target).parameters
    except ValueError:  # some built-in classes show no signature
        return False


def bind(
    spec: Mapping[str, Any], context: Mapping[str, Any] | None = None, *, where: str
) -> tuple[Any, dict[str, Any]]:
    """Return the target of `spec` and the arguments to call it with, checked against its signature.

    `where` names the place of the specification (`pooling.downsample`) for errors.
    """
    if TARGET not in spec:
        raise ConfigurationError(f"`{where}` needs `{TARGET}`: the dotted path of a class, got {dict(spec)!r}")
    target = locate(spec[TARGET])
    given = {key: _nested(value, context, where=f"{where}.{key}") for key, value in spec.items() if key != TARGET}
    try:
        signature = inspect.signature(target)
    except ValueError:
        return target, given
    parameters = signature.parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    mistakes = []
    for name in given:
        if name not in parameters and not open_ended:
            known = [p for p in parameters if p not in (context or {}) and p != "self"]
            mistakes.append(str(unknown_name("argument", name, known)))
    arguments = {name: value for name, value in (context or {}).items() if name in parameters} | given
    missing = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name not in arguments
    ]
    if missing:
        mistakes.append(f"missing argument {', '.join(map(repr, missing))}")
    if mistakes:
        raise ConfigurationError(f"`{where}` ({spec[TARGET]}): " + "; ".join(mistakes))
    return target, arguments


def build(spec: Mapping[str, Any], context: Mapping[str, Any] | None = None, *, where: str) -> Any:
    """Build what `spec` describes.

    >>> build({"_target_": "fractions.Fraction", "numerator": 1}, {"denominator": 2, "unused": 0}, where="half")
    Fraction(1, 2)
    >>> try:
    ...     build({"_target_": "fractions.Fraction", "numeratr": 1}, where="half")
    ... except ConfigurationError as error:
    ...     print(str(error)[:70])
    `half` (fractions.Fraction): unknown argument 'numeratr'; did you mean
    """
    target, arguments = bind(spec, context, where=where)
    try:
        return target(**arguments)
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        # On one line: a value that is shown may have several.
        raise ConfigurationError(f"`{where}` ({spec[TARGET]}): {' '.join(str(error).split())}") from error


@contextmanager
def custom_code(path: str, doing: str) -> Iterator[None]:
    """Let what the custom class at `path` raises be an error that names it and the line: it is no bug of poolbench's.

    `doing` names the place and what was asked of it. Errors of poolbench's own classes stay as they are.

    Raises:
        ConfigurationError: the code within raised.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        if path.startswith(f"{__package__}."):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        source = getattr(sys.modules.get(path.rpartition(".")[0]), "__file__", None)
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source]
        place = own[-1] if own else last
        raise ConfigurationError(
            f"{doing} ({path}) raised {type(error).__name__}: {' '.join(str(error).split())} "
            f"({place.filename}, line {place.lineno})"
        ) from error


def check_values(value: Any, where: str) -> None:
    """Raise `ConfigurationError` for what no record could hold: a number that is not finite, an object.

    >>> try:
    ...     check_values({"optimizer": {"lr": float("inf")}}, "protocol")
    ... except ConfigurationError as error:
    ...     print(error)
    `protocol.optimizer.lr` must be a finite number, got inf
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_values(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_values(item, f"{where}.{index}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"`{where}` must be a finite number, got {value}")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"`{where}` must be text in UTF-8, got {value!a}") from error
    elif value is not None and not isinstance(value, bool | int | float):
        raise ConfigurationError(
            f"`{where}` must be a number, a text, true, false, null, or a list or mapping of these, "
            f"got a {type(value).__name__}"
        )


def _nested(value: Any, context: Mapping[str, Any] | None, *, where: str) -> Any:
    """Build a specification that is an argument of another."""
    if isinstance(value, Mapping) and TARGET in value:
        return build(value, context, where=where)
    return value
