"""Which speaker, recording or other origin a file is of, by its name; and who is left out for the test."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poolbench.errors import ConfigurationError, DataError

NAMED = 5


@dataclass(frozen=True, eq=False)
class Groups:
    """The group of each file.

    Args:
        names: of all groups, sorted.
        numbers: each file's group as a place among the names, int64 (N,).
    """

    names: tuple[str, ...]
    numbers: np.ndarray


def groups_of(paths: Sequence[str], pattern: str | None) -> Groups | None:
    """Return the groups of files by their names (folders left out), or None without a pattern.

    Raises:
        ConfigurationError: the pattern is no regular expression with one group in parentheses.
        DataError: it is not found in a file's name.

    >>> found = groups_of(["train/7/7_anna_0.wav", "train/7/7_bert_0.wav", "test/7/7_anna_1.wav"], "_([a-z]+)_")
    >>> found.names, found.numbers.tolist()
    (('anna', 'bert'), [0, 1, 0])
    """
    if pattern is None:
        return None
    try:
        expression = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ConfigurationError(
            f"`dataset.group` must be null or a regular expression, got {pattern!r}: {error}"
        ) from None
    if expression.groups != 1:
        raise ConfigurationError(
            f"`dataset.group` must have one group in parentheses, which is found in a file's name, got {pattern!r}"
        )
    found = [expression.search(path.rsplit("/", 1)[-1]) for path in paths]
    without = [path for path, match in zip(paths, found, strict=True) if match is None or match[1] is None]
    if without:
        more = f" and {len(without) - NAMED} more" if len(without) > NAMED else ""
        raise DataError(f"`dataset.group`: {pattern!r} is not found in {', '.join(without[:NAMED])}{more}")
    own = [match[1] for match in found if match is not None]
    names = tuple(sorted(set(own)))
    return Groups(names, np.array([names.index(name) for name in own], np.int64))


def held_out(groups: Groups | None, names: str | Sequence[str] | None) -> np.ndarray | None:
    """Return which files are of the groups that are left out, bool (N,), or None where none is.

    Raises:
        ConfigurationError: there are no groups, none of that name, or no other.
    """
    if names is None:
        return None
    if groups is None:
        raise ConfigurationError("`dataset.leave_out` needs `dataset.group`, which says what group a file is of")
    asked = [names] if isinstance(names, str) else list(names)
    strange = [name for name in asked if name not in groups.names]
    if strange or not asked:
        raise ConfigurationError(f"`dataset.leave_out` must be of {', '.join(groups.names)}, got {names!r}")
    if set(asked) == set(groups.names):
        raise ConfigurationError(f"`dataset.leave_out` must leave a group to train on, got all of {names!r}")
    return np.isin(groups.numbers, [groups.names.index(name) for name in asked])
