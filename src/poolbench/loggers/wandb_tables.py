"""A record's audit and confusions as rows."""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

# Of as many rows W&B makes a table without cutting it.
MOST_ROWS = 10_000


@dataclass(frozen=True)
class Rows:
    """A table: the names of its columns, and its rows of texts and numbers."""

    columns: tuple[str, ...]
    data: tuple[tuple[Any, ...], ...]


def audit_rows(record: Mapping[str, Any]) -> Rows | None:
    """Return what stands at each site of the network, a row each; None where no audit was made.

    >>> site = {"name": "pool1", "operator": "MaxPool2d", "stride": [2, 2]}
    >>> audit_rows({"audit": {"sites": [site]}})
    Rows(columns=('name', 'operator', 'stride'), data=(('pool1', 'MaxPool2d', '2, 2'),))
    """
    sites = (record.get("audit") or {}).get("sites")
    if not sites:
        return None
    columns = tuple(dict.fromkeys(str(key) for site in sites for key in site))
    return Rows(columns, tuple(tuple(_text(site.get(column)) for column in columns) for site in sites))


def confusion_rows(record: Mapping[str, Any], folder: Path) -> Rows | None:
    """Return how many test images of each class were taken for which; pairs that never occur are left out.

    None where the record has no outcomes of classes, or the file is not the one that it names, or cannot be read.
    """
    from poolbench.record import OUTCOMES_FILE

    classes = (record.get("data") or {}).get("classes") or ()
    named = (record.get("files") or {}).get(OUTCOMES_FILE)
    if not named:
        return None
    import numpy as np

    try:
        content = (folder / OUTCOMES_FILE).read_bytes()
        if sha256(content).hexdigest() != named:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            target, predicted = found["target"], found["predicted"]
            if target.ndim != 1 or target.dtype.kind not in "iu" or predicted.dtype.kind not in "iu":
                return None  # of another task: no class was taken for another
            pairs = Counter(zip(target.tolist(), predicted.tolist(), strict=True))
    except Exception:  # whatever a damaged archive makes numpy, zipfile and zlib raise
        return None

    def name(number: int) -> str:
        return str(classes[number]) if 0 <= number < len(classes) else str(number)

    most = pairs.most_common(MOST_ROWS)
    return Rows(("actual", "predicted", "images"), tuple((name(a), name(p), count) for (a, p), count in sorted(most)))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
