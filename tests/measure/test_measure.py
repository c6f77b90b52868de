"""Accuracy, cost, machine and network speed against answers found by hand."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from poolbench.errors import ConfigurationError
from poolbench.measure import machine as machine_module
from poolbench.measure.accuracy import metrics, outcomes
from poolbench.measure.cost import cost
from poolbench.measure.machine import machine, revision, set_allocator
from poolbench.measure.operators import Shape, bench_operators, kept_bytes
from poolbench.measure.speed import network_speed

CPU = torch.device("cpu")
# Softmax of (log 3, 0) is (3/4, 1/4).
LOGITS = torch.log(torch.tensor([[3.0, 1.0], [3.0, 1.0], [1.0, 3.0], [3.0, 1.0]]))
TARGET = torch.tensor([0, 0, 0, 1])


def test_accuracy_loss_and_calibration() -> None:
    found = metrics(LOGITS, TARGET, "test_")
    assert found["test_accuracy"] == 0.5
    assert found["test_loss"] == pytest.approx(-(2 * np.log(3 / 4) + 2 * np.log(1 / 4)) / 4)
    # All four are 3/4 sure, half of them are right.
    assert found["ece"] == pytest.approx(0.25)


def test_outcomes() -> None:
    found = outcomes(LOGITS, TARGET)
    assert found.predicted.tolist() == [0, 0, 1, 0]
    assert found.probability.tolist() == [0.75, 0.75, 0.25, 0.25]
    assert found.confidence.tolist() == [0.75] * 4
    assert {array.dtype.name for array in found.arrays().values()} == {"int16", "float16"}


def test_cost() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16, 5)).train()
    network[0].weight.requires_grad_(False)
    found = cost(network, (3, 8, 8))
    assert found["parameters"] == 4 * 27 + 4 + 5 * 64 + 5
    assert found["parameters_trainable"] == found["parameters"] - 4 * 27
    assert found["multiply_adds"] == 64 * 4 * 27 + 64 * 5
    assert network.training


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_revision(tmp_path: Path) -> None:
    assert revision(tmp_path / "nowhere") == (None, None)
    git(tmp_path, "init")
    assert revision(tmp_path) == (None, None)
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    commit, dirty = revision(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    assert dirty is False
    (tmp_path / "new").write_text("a file that git does not know makes nothing dirty")
    assert revision(tmp_path)[1] is False
    (tmp_path / "file").write_text("two")
    assert revision(tmp_path) == (commit, True)


def test_machine() -> None:
    found = machine(CPU)
    assert found["device"] == "cpu"
    assert found["cores"] >= 1
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]
    assert machine(CPU)["machine_id"] == found["machine_id"]


def test_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="did you mean keep"):
        set_allocator("keeep")
    monkeypatch.setattr(machine_module, "_in_force", "system")
    assert set_allocator("system") == "system"
    monkeypatch.setattr(machine_module.platform, "libc_ver", lambda: ("", ""))
    assert set_allocator("keep") == "system"


def network(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(3))


def speed(arm: nn.Module, reference: nn.Module) -> dict:
    return network_speed(
        arm,
        reference,
        input_shape=(1, 6, 6),
        num_classes=3,
        batch_size=4,
        device=CPU,
        precision="float32",
        memory_format="channels_last",
        optimizer_factory=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        budget_s=0.01,
    )


def test_speed_changes_neither_networks_nor_the_global_stream() -> None:
    arm, reference = network(), network(8)
    for net in (arm, reference):
        net(torch.zeros(2, 1, 6, 6))
    before = [value.clone() for net in (arm, reference) for value in net.state_dict().values()]
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    found = speed(arm, reference)
    assert torch.equal(torch.rand(1), expected)
    after = [value for net in (arm, reference) for value in net.state_dict().values()]
    assert all(map(torch.equal, before, after))
    assert set(found) == {"training", "inference", "latency"}
    for quantity in found.values():
        assert quantity["ci95_low"] <= quantity["median"] <= quantity["ci95_high"]
        assert quantity["ratio_ci95_low"] <= quantity["ratio"] <= quantity["ratio_ci95_high"]
        assert quantity["repeats"] >= 8
    assert found["training"]["unit"] == "images/s"
    assert found["latency"]["unit"] == "ms"


def test_the_reference_beside_itself_has_ratio_one() -> None:
    net = network()
    net(torch.zeros(2, 1, 6, 6))
    for quantity in speed(net, net).values():
        assert (quantity["ratio"], quantity["ratio_ci95_low"]) == (1.0, None)


class Asleep(nn.Module):
    """Takes no time to speak of, but as long as the other waits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, ::2, ::2] * 1


def test_bytes_kept_for_backward() -> None:
    images = torch.zeros(2, 3, 4, 4)
    # nn.MaxPool2d keeps its input and an 8-byte index for each output.
    assert kept_bytes(nn.MaxPool2d(2), images) == 2 * 3 * 16 * 4 + 2 * 3 * 4 * 8
    assert kept_bytes(Asleep(), images) == 0


def test_rows_of_the_operators_bench() -> None:
    shape = Shape("tiny", (1, 2, 4, 4), 2, 2, 0)
    specs = {"max": {"_target_": "torch.nn.MaxPool2d"}}
    rows = list(bench_operators(specs, shapes=[shape], layouts=["channels_last"], budget_s=0.001))
    assert [row["operator"] for row in rows] == ["copy", "max"]
    assert rows[1]["shape"] == "1×2×4×4 k2s2"
    assert rows[1]["forward_ratio"] > 0
    assert rows[1]["backward_ms"] > 0
    assert rows[1]["kept_mib"] > 0
    assert "backward_ms" not in rows[0]
