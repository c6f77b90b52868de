"""Files that a network's configuration names: their content belongs to the identity of a cell, as a data set's does."""

import functools
import hashlib
from collections.abc import Collection, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError, unknown_name
from poolbench.paths import expanded
from poolbench.spec import TARGET

DEFAULT = "DEFAULT"
# What a network is made of; where a dataset lies is no part of an identity.
GROUPS = ("backbone", "pooling", "head")
NO_FILES = frozenset({TARGET, "name", "model"})


def weights_path(weights: Any, names: Collection[str], *, of: str) -> Path | None:
    """Return the path that `backbone.weights` gives, None where it is one of the `names`.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(weights, str) and weights in names:
        return None
    if isinstance(weights, str) and weights:
        path = expanded(weights, "backbone.weights")
        if path.suffix or len(path.parts) > 1 or path.is_file():
            return path
        raise unknown_name(f"`backbone.weights` of {of}", weights, [*names, "a file's path"])
    raise ConfigurationError(
        f"`backbone.weights` must be null, {', '.join(names)} or the path of a file, got {weights!r}"
    )


def file_digests(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest of the content of each file that backbone, pooling or head name, by the key that does.

    A text names a file if one is there and it looks like a path, that is has a suffix or a folder; `weights` does so
    without. What is downloaded by its name is known by it.
    """
    return {key: content_digest(path) for group in GROUPS for key, path in _files(config.get(group), group)}


def _files(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in NO_FILES:
                yield from _files(inner, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _files(inner, f"{key}.{index}")
    elif isinstance(value, str) and value and value != DEFAULT:
        try:
            path = expanded(value, key)
        except ConfigurationError:
            if key == "backbone.weights":
                raise
            return  # a text that begins so, and is no path
        if path.suffix or len(path.parts) > 1 or key == "backbone.weights":
            try:
                if path.is_file():
                    yield key, path
            except OSError:  # a text that can be no path
                return


def content_digest(path: Path) -> str:
    """Return a digest of a file's content."""
    state = path.stat()
    return _digest_of(str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@functools.lru_cache(maxsize=64)
def _digest_of(path: str, *state: int) -> str:
    """Return the digest of a file in this state: the cells of a sweep share it."""
    with Path(path).open("rb") as file:
        return digest_of(file)


def digest_of(file: BufferedReader) -> str:
    """Return the digest of what an open file holds, from its begin."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()[:16]
