"""The speed record of a trained arm: what it says of its conditions, and when it is measured anew."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from poolbench.cell import Cell
from poolbench.measure.speed import Quantity, SideBySide
from poolbench.paths import conf_dir
from poolbench.settings import Settings
from poolbench.speeds import measure_arm, measured, speed_path


def written(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())


def cell(folder: Path, *, compiled: bool = False) -> Cell:
    config = {
        "backbone": written("backbone", "lenet5"),
        "pooling": written("pooling", "avg"),
        "head": None,
        "dataset": written("dataset", "digits") | {"image_size": 28},
        "protocol": written("protocol", "default") | {"compile": compiled},
        "trainer": {"accelerator": "cpu"},
        "seed": 0,
    }
    names = {"backbone": "lenet5", "variant": "avg", "dataset": "digits"}
    return Cell.of(config, names, Settings(folder, "speeds", reference="max"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was measured: (quantity, batch size, compiled, stopwatch's name); no time is spent on it."""
    found: list[tuple[Any, ...]] = []

    def measure(self: SideBySide, quantity: str, batch_size: int) -> Quantity:
        found.append((quantity, batch_size, self.compiled, self.bounds["stopwatch"].name))
        return Quantity("images/s", 2.0, 1.0, 3.0, 1.0, 0.9, 1.1, 8, True)

    monkeypatch.setattr(SideBySide, "measure", measure)
    return found


@pytest.mark.parametrize("compiled", [False, True])
def test_the_protocols_compiling_reaches_the_measurement(
    tmp_path: Path, asked: list[tuple[Any, ...]], compiled: bool
) -> None:
    arm = cell(tmp_path, compiled=compiled)
    record = measure_arm(arm, arm.with_reference(written("pooling", "max"), "max"), budget_s=0.01, half_width=0.5)
    clock = "processor" if torch.get_num_threads() == 1 else "wall"
    assert asked == [
        ("training", 128, compiled, clock),
        ("forward_backward", 128, compiled, clock),
        ("inference", 128, compiled, clock),
        ("latency", 1, compiled, clock),
    ]
    assert (record["compiled"], record["clock"]) == (compiled, clock)
    assert list(record["quantities"]) == ["training", "forward_backward", "inference", "latency"]
    assert json.loads(speed_path(arm).read_text()) == record


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("compiled", [False, True])
def test_an_older_record_counts_where_nothing_is_compiled(tmp_path: Path, compiled: bool) -> None:
    arm = cell(tmp_path, compiled=compiled)
    reference = arm.with_reference(written("pooling", "max"), "max")
    assert not measured(arm, reference)
    record = measure_arm(arm, reference, budget_s=0.01, half_width=0.5)
    assert measured(arm, reference)
    older = {key: value for key, value in record.items() if key not in ("compiled", "clock")}
    older["quantities"] = {key: value for key, value in record["quantities"].items() if key != "forward_backward"}
    speed_path(arm).write_text(json.dumps(older))
    assert measured(arm, reference) is not compiled
