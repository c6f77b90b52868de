"""What one column of a table is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column: `kind` is `text`, `count` (a whole number), `number` or `flag` (True, False)."""

    name: str
    kind: str
    unit: str
    meaning: str
