"""What one example is called where text speaks of it: an image, a sequence, a spectrogram."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

IMAGE, SEQUENCE, EXAMPLE = "image", "sequence", "example"
# Of a dataset's class, and of `data` in a record: the word, where the shape does not say it.
ATTRIBUTE = "example"


def word(shape: Sequence[int] | None, named: object = None) -> str:
    """Return what one example of this shape is called: as its dataset names it, else by its dimensions.

    Args:
        shape: (C, H, W) or (C, L); None: not known, as in records of images from before there were others.
        named: what the dataset calls it; None: nothing.

    >>> word((3, 32, 32)), word((1, 320)), word((1, 64, 50), "spectrogram")
    ('image', 'sequence', 'spectrogram')
    """
    if isinstance(named, str) and named:
        return named
    return SEQUENCE if shape is not None and len(shape) == 2 else IMAGE


def of_record(record: Mapping[str, Any]) -> str:
    """Return what one example of a record's dataset is called."""
    data = record.get("data") or {}
    return word(data.get("shape"), data.get(ATTRIBUTE))


def several(words: Iterable[str]) -> str:
    """Return the plural that stands for all of them.

    >>> several(["image", "image"]), several(["image", "sequence"]), several([])
    ('images', 'examples', 'examples')
    """
    found = set(words)
    return f"{found.pop() if len(found) == 1 else EXAMPLE}s"
