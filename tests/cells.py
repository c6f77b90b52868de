"""Cells trained by the command, for tests: short ones, and their records."""

import json
from pathlib import Path
from typing import Any

# One epoch of little data: these tests are about what happens around the training.
SHORT = ["dataset=digits", "trainer=cpu", "threads=1", "allocator=system", "protocol.epochs=1", "speed.measure=false"]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of an experiment by variant and seed."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("records/*/record.json"))]
    return {f"{r['labels']['variant']}/{r['seed']}": r for r in found}
