"""A sweep on a GPU, from the command to its records: half precision, cuDNN's search, and a cell that goes on.

What the audit says of memory on a GPU is what torch's allocator gave out.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import records

from poolbench.cli import main
from poolbench.data import Batches
from poolbench.report import figures, page

ASKED = [
    *("dataset=digits", "dataset.train_images=300", "backbone=slides", "pooling=max,strided_conv", "trainer=gpu"),
    *("+trainer.benchmark=true", "protocol.precision=float16", "protocol.epochs=3", "protocol.checkpoint_every_s=0"),
    *("threads=1", "allocator=system", "speed.measure=false"),
]


def test_a_cell_that_failed_goes_on_and_memory_is_the_allocators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")
    searched: set[bool] = set()
    errors = [RuntimeError("boom")]

    def set_epoch(self: Any, number: int) -> None:
        self.epoch = number
        searched.add(torch.backends.cudnn.benchmark)
        if number == 2 and errors:
            raise errors.pop()

    monkeypatch.setattr(Batches, "set_epoch", set_epoch)
    before = torch.backends.cudnn.benchmark
    folder = tmp_path / "results" / "adhoc"
    assert main(["train", *ASKED]) == 1
    (failed,) = (record for record in records(folder).values() if record["status"] != "ok")
    assert (failed["status"], failed["reason"]) == ("failed", "RuntimeError: boom")
    assert [row["epoch"] for row in failed["history"]] == [0, 1]
    assert main(["train", *ASKED, "force=failed"]) == 0
    found = records(folder)
    assert {key: record["status"] for key, record in found.items()} == {"max/0": "ok", "strided_conv/0": "ok"}
    resumed = {record["run_id"]: record["provenance"]["resumed_epochs"] for record in found.values()}
    assert {run_id: epochs for run_id, epochs in resumed.items() if epochs} == {failed["run_id"]: [2]}
    assert True in searched
    assert torch.backends.cudnn.benchmark == before
    for record in found.values():
        assert record["config"]["protocol"]["precision"] == "float16"
        assert [row["epoch"] for row in record["history"]] == [0, 1, 2]
        assert all(math.isfinite(row["train_loss"]) for row in record["history"])
        cost = record["cost"]
        assert cost["memory_method"] == "allocator"
        # Parameters and their gradients at least, in float32.
        assert cost["peak_bytes"] >= 2 * 4 * cost["parameters"]
