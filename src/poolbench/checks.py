"""Checks of single values that many arguments share: each says argument, rule and what was received."""

import sys
from typing import Any, TypeGuard

from poolbench.errors import ConfigurationError


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether `value` is a whole number; true and false are not.

    >>> is_whole(3), is_whole(True), is_whole(3.0)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is a finite number, as a float can hold it; true and false are not.

    >>> is_number(0.5), is_number(2), is_number(True), is_number(float("inf")), is_number(10**400)
    (True, True, False, False, False)
    """
    largest = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -largest <= value <= largest


def whole_number(name: str, value: Any, *, least: int = 1, or_null: str = "", hint: str = "") -> Any:
    """Return `value` if it is a whole number of at least `least`, or None where `or_null` says what that means.

    Args:
        name: the argument, as the user writes it.
        value: what was given.
        least: the smallest number that is allowed.
        or_null: what None means; empty: None is not allowed.
        hint: what to do, at the end of the error.

    Raises:
        ConfigurationError: it is anything else.

    >>> whole_number("threads", 2)
    2
    >>> try:
    ...     whole_number("threads", 0)
    ... except ConfigurationError as error:
    ...     print(error)
    `threads` must be a whole number of at least 1, got 0
    """
    if (value is None and or_null) or (is_whole(value) and value >= least):
        return value
    null = f", or null ({or_null})" if or_null else ""
    raise ConfigurationError(f"`{name}` must be a whole number of at least {least}{null}, got {value!r}{hint}")


def number_above(name: str, value: Any, *, above: float = 0) -> float:
    """Return `value` if it is a finite number above `above`; else raise `ConfigurationError`."""
    if is_number(value) and value > above:
        return value
    raise ConfigurationError(f"`{name}` must be a number above {above:g}, got {value!r}")


def true_or_false(name: str, value: Any) -> bool:
    """Return `value` if it is true or false; else raise `ConfigurationError`."""
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"`{name}` must be true or false, got {value!r}")
