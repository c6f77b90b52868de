"""The sizes of an example: one number for a square image, or one for each dimension."""

from collections.abc import Sequence
from typing import Any

from poolbench.checks import is_whole
from poolbench.errors import ConfigurationError

Sizes = tuple[int, ...]


def sizes_of(image_size: Any, *, where: str = "dataset.image_size") -> Sizes:
    """Return the size of each dimension: (H, W) of an image, (L,) of a sequence.

    Args:
        image_size: a whole number n for square images, n×n; or a list of one number for each dimension.
        where: names it in a message.

    Raises:
        ConfigurationError: it is neither.

    >>> sizes_of(16), sizes_of([40, 101]), sizes_of([187])
    ((16, 16), (40, 101), (187,))
    """
    if is_whole(image_size) and image_size >= 1:
        return int(image_size), int(image_size)
    if isinstance(image_size, Sequence) and not isinstance(image_size, str) and len(image_size) in (1, 2):
        sizes = tuple(image_size)
        if all(is_whole(size) and size >= 1 for size in sizes):
            return tuple(int(size) for size in sizes)
    raise ConfigurationError(
        f"`{where}` must be a whole number, at least 1 (square images), or a list of one for each dimension: [height, "
        f"width] of images, [length] of sequences, got {image_size!r}"
    )
