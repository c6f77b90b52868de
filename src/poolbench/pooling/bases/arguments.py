"""The arguments of operators, checked: whole numbers, numbers above 0, one number or two."""

import math
import operator
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, TypeGuard

# Of window operators, and of heads: Triton compiles formulas of windows alone.
IMPLEMENTATIONS = ("fast", "torch", "triton")
IMPLEMENTATIONS_OF_HEADS = IMPLEMENTATIONS[:2]


def checked_implementation(value: str, among: Sequence[str] = IMPLEMENTATIONS) -> str:
    """Return an `implementation`; raise `ValueError` for what is none.

    >>> checked_implementation("fast")
    'fast'
    """
    if value not in among:
        *first, last = map(repr, among)
        raise ValueError(f"`implementation` must be {', '.join(first)} or {last}, got {value!r}")
    return value


def pair(name: str, value: int | Sequence[int], *, least: int = 1) -> tuple[int, int]:
    """Return (height, width) of an argument that is one number or two.

    >>> pair("kernel_size", 3)
    (3, 3)
    """
    given = tuple(value) if isinstance(value, Sequence) else (value, value)
    both = [whole(each, least) for each in given]
    if len(both) != 2 or both[0] is None or both[1] is None:
        raise ValueError(f"`{name}` must be one or two whole numbers of at least {least}, got {shown(value)}")
    return both[0], both[1]


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether `value` is a whole number, NumPy's too; true and false are not.

    >>> is_whole(3), is_whole(True), is_whole(3.0)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is a finite number, as a float can hold it, NumPy's too; true and false are not.

    >>> is_number(0.5), is_number(2), is_number(True), is_number(float("inf")), is_number(10**400)
    (True, True, False, False, False)
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number beyond all floats
        return False


def whole(value: Any, least: int) -> int | None:
    """Return a whole number, NumPy's too, as Python's; None if it is none, or below `least`."""
    if isinstance(value, bool):
        return None
    try:
        number = operator.index(value)
    except TypeError:  # an array has `__index__`, too, and says then that it is more than a number
        return None
    return number if number >= least else None


def shown(value: object) -> str:
    """Return how a message shows what was given: on one line, an array too.

    >>> import numpy
    >>> shown(numpy.eye(2))
    'array([[1., 0.], [0., 1.]])'
    """
    return " ".join(repr(value).split())


def whole_number(name: str, value: object, *, least: int = 1) -> int:
    """Return an argument that must be a whole number.

    >>> whole_number("channels", 3)
    3
    """
    number = whole(value, least)
    if number is None:
        raise ValueError(f"`{name}` must be a whole number of at least {least}, got {shown(value)}")
    return number


def positive_number(name: str, value: object) -> float:
    """Return an argument that must be a finite number above 0.

    >>> positive_number("beta", 2)
    2.0
    """
    if not is_number(value) or value <= 0:
        raise ValueError(f"`{name}` must be a number above 0, got {shown(value)}")
    return float(value)
