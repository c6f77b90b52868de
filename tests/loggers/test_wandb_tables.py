"""A record's confusions as rows: those of the file that the record names, and none of one that is damaged."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from poolbench.loggers.wandb_tables import Rows, confusion_rows
from poolbench.record import OUTCOMES_FILE
from poolbench.run.files import npz

WHOLE = npz({"target": np.array([0, 0, 1, 2]), "predicted": np.array([0, 1, 1, 2])})
ROWS = Rows(("actual", "predicted", "images"), (("cat", "cat", 1), ("cat", "dog", 1), ("dog", "dog", 1), ("2", "2", 1)))
FLIPPED = bytearray(WHOLE)
FLIPPED[60] ^= 255  # inside the first array's compressed bytes
PLAIN = npz({"target": np.array([0, 1])})


@pytest.mark.parametrize("named", [True, False], ids=["named", "replaced"])
@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (WHOLE, ROWS),
        (WHOLE[: len(WHOLE) // 2], None),
        (WHOLE[:20], None),
        (bytes(FLIPPED), None),
        (b"", None),
        (b"no archive", None),
        (PLAIN, None),
    ],
    ids=["whole", "half", "header", "flipped", "empty", "text", "without_predictions"],
)
def test_confusions(tmp_path: Path, content: bytes, rows: Rows | None, named: bool) -> None:
    (tmp_path / OUTCOMES_FILE).write_bytes(content)
    digest = sha256(content if named else b"another").hexdigest()
    record = {"data": {"classes": ["cat", "dog"]}, "files": {OUTCOMES_FILE: digest}}
    assert confusion_rows(record, tmp_path) == (rows if named else None)
