"""Which finished cells are run again."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from poolbench.errors import ConfigurationError
from poolbench.force import Force

RUN = "slides-max-digits-s0-0123456789ab"


def record(**changes: Any) -> dict[str, Any]:
    return {"run_id": RUN, "status": "ok", "files": {"weights.pt": sha256(b"whole").hexdigest()}} | changes


@pytest.mark.parametrize(
    ("value", "ok", "diverged", "damaged"),
    [
        (False, False, False, False),
        (True, True, True, True),
        ("failed", False, True, False),
        ("damaged", False, False, True),
        (RUN, True, True, True),
        ([RUN], True, True, True),
        ("slides-max-digits-s1-0123456789ab", False, False, False),
    ],
)
def test_force_asks_for(tmp_path: Path, value: Any, ok: bool, diverged: bool, damaged: bool) -> None:
    force = Force.of(value)
    (tmp_path / "weights.pt").write_bytes(b"whole")
    assert force.asks_for(tmp_path, record()) is ok
    assert force.asks_for(tmp_path, record(status="diverged", files={})) is diverged
    (tmp_path / "weights.pt").write_bytes(b"whale")
    assert force.asks_for(tmp_path, record()) is damaged


@pytest.mark.parametrize("value", ["maybe", None, 1, [], [1], "true", {"run": RUN}, float("nan")])
def test_anything_else_is_an_error(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="`force` must be true or false, failed, damaged, or a run's id"):
        Force.of(value)


def test_a_run_that_is_none_of_the_sweeps_is_told() -> None:
    Force.of(RUN).check([RUN, "other-s0-x"])
    Force.of(True).check([])
    with pytest.raises(ConfigurationError, match=f"did you mean {RUN}"):
        Force.of(RUN[:-1] + "c").check([RUN, "lenet5-avg-mnist-s1-fedcba987654"])
