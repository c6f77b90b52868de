"""Accuracy, loss and calibration against answers by hand."""

import math

import numpy as np
import pytest
import torch

from poolbench.measure.accuracy import metrics, outcomes


def logits_of(*rows: list[float]) -> torch.Tensor:
    """Return logits whose softmax is these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log().float()


def test_metrics_by_hand() -> None:
    logits = logits_of([0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.25, 0.5, 0.25])
    found = metrics(logits, torch.tensor([0, 1, 0, 1]), "val_")
    assert set(found) == {"val_accuracy", "val_loss", "ece"}
    assert found["val_accuracy"] == 0.75
    assert found["val_loss"] == pytest.approx(-math.log(0.7 * 0.8 * 0.3 * 0.5) / 4, rel=1e-6)
    # Four bins hold an image each, distances to its outcome: 0.3, 0.2, 0.4 (wrong) and 0.5.
    assert found["ece"] == pytest.approx((0.3 + 0.2 + 0.4 + 0.5) / 4, rel=1e-5)


def test_calibration_error_is_weighted_by_bin() -> None:
    # Confidence 0.9, 9 of 10 right: calibrated. Confidence 0.6, 0 of 10 right: off by 0.6.
    logits = logits_of(*[[0.9, 0.1]] * 10, *[[0.6, 0.4]] * 10)
    target = torch.tensor([0] * 9 + [1] + [1] * 10)
    assert metrics(logits, target)["ece"] == pytest.approx(0.5 * 0.0 + 0.5 * 0.6, abs=1e-6)


def test_opposite_errors_in_one_bin_cancel() -> None:
    # 0.62 and 0.66 share the bin from 9/15 to 10/15; one right and one wrong are half right.
    found = metrics(logits_of([0.62, 0.38], [0.66, 0.34]), torch.tensor([0, 1]))
    assert found["ece"] == pytest.approx(0.64 - 0.5, abs=1e-6)


def test_certain_and_right_is_calibrated() -> None:
    found = metrics(torch.tensor([[200.0, -200.0]]), torch.tensor([0]))
    assert found == {"accuracy": 1.0, "loss": 0.0, "ece": 0.0}


def test_accuracy_is_the_exact_fraction() -> None:
    logits = torch.zeros(20, 2)
    logits[:, 1] = 1
    target = torch.tensor([1] * 19 + [0])
    assert metrics(logits, target)["accuracy"] == 0.95


def test_loss_is_summed_in_double_precision() -> None:
    torch_float = torch.full((100_000, 2), 0.0)
    torch_float[:, 0] = 1e-3
    found = metrics(torch_float, torch.zeros(100_000, dtype=torch.long))["loss"]
    assert found == pytest.approx(math.log1p(math.exp(-float(torch.tensor(1e-3)))), rel=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_give_no_figures(bad: float) -> None:
    logits = torch.zeros(3, 4)
    logits[1, 2] = bad
    found = metrics(logits, torch.tensor([0, 1, 2]), "test_")
    assert set(found) == {"test_accuracy", "test_loss", "ece"}
    assert all(math.isnan(value) for value in found.values())


def test_outcomes_by_hand() -> None:
    found = outcomes(logits_of([0.75, 0.25], [0.25, 0.75]), torch.tensor([0, 0]))
    arrays = found.arrays()
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "target": "int16",
        "predicted": "int16",
        "probability": "float16",
        "confidence": "float16",
    }
    assert found.target.tolist() == [0, 0]
    assert found.predicted.tolist() == [0, 1]
    assert found.probability == pytest.approx([0.75, 0.25])
    assert found.confidence == pytest.approx([0.75, 0.75])


def test_outcomes_and_metrics_agree() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 7, generator=draw)
    logits[:50] = 0  # equal logits: the first class is predicted, in both
    target = torch.randint(7, (500,), generator=draw)
    found = outcomes(logits, target)
    assert np.mean(found.target == found.predicted) == metrics(logits, target)["accuracy"]


@pytest.mark.parametrize(
    ("logits", "target", "name"),
    [
        (torch.zeros(4), torch.zeros(4, dtype=torch.long), "logits"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "logits"),
        (torch.zeros(4, 1), torch.zeros(4, dtype=torch.long), "logits"),
        (torch.zeros(1, 40_000), torch.zeros(1, dtype=torch.long), "logits"),
        (torch.zeros(4, 3), torch.zeros(3, dtype=torch.long), "target"),
    ],
)
def test_shapes_that_do_not_fit_are_named(logits: torch.Tensor, target: torch.Tensor, name: str) -> None:
    for function in (metrics, outcomes):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            function(logits, target)
