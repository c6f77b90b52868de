"""A path that a flag names."""

import argparse
from pathlib import Path

from poolbench.errors import ConfigurationError
from poolbench.paths import expanded


def place(text: str) -> Path:
    """Return the path, with a leading `~` as the user's home folder: a shell leaves it as it is behind `--flag=`.

    >>> place("results")
    PosixPath('results')
    """
    try:
        return expanded(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
