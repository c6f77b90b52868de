"""What holds over all data sets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Across:
    """What holds over all data sets."""

    left_out: tuple[str, ...] = ()
