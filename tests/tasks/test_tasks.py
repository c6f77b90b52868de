"""What each task makes of outputs and targets, by hand; and what is no target."""

import math

import pytest
import torch
from torch.nn import functional

from poolbench.data import Augment, task_for
from poolbench.data.augment import Draws
from poolbench.data.task import PARTS, Task
from poolbench.errors import ConfigurationError, DataError
from poolbench.score import Score, task_of
from poolbench.tasks import Classification, Regression, Segmentation

# Two images of 2×3 places with three classes; 255 does not count.
TRUTH = torch.tensor([[[0, 0, 1], [1, 1, 255]], [[2, 2, 2], [2, 0, 0]]], dtype=torch.uint8)
GIVEN = torch.tensor([[[0, 1, 1], [1, 0, 2]], [[2, 2, 2], [0, 0, 1]]])


def test_a_batch_without_a_place_that_counts_has_no_loss_and_no_gradient() -> None:
    task, target = Segmentation(), torch.full((2, 4, 4), 255)
    output = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = task.loss(output, target, 0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(output.grad, torch.zeros_like(output))


@pytest.mark.parametrize(("smoothing", "tolerance"), [(0.0, 0.0), (0.1, 1e-6)])
def test_the_loss_of_a_segmentation_is_torchs(smoothing: float, tolerance: float) -> None:
    task, draw = Segmentation(), torch.Generator().manual_seed(0)
    output = torch.randn(4, 5, 9, 7, generator=draw, requires_grad=True)
    target = torch.randint(5, (4, 9, 7), generator=draw)
    target[0, :3] = task.ignore
    expected = functional.cross_entropy(output, target, ignore_index=task.ignore, label_smoothing=smoothing)
    found = task.loss(output, target, smoothing)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    one, two = (torch.autograd.grad(loss, output)[0] for loss in (found, expected))
    torch.testing.assert_close(one, two, rtol=0, atol=tolerance)


def logits_of(given: torch.Tensor, classes: int = 3) -> torch.Tensor:
    return 4.0 * torch.nn.functional.one_hot(given, classes).movedim(-1, 1).float()


def test_mean_iou_of_each_image_is_over_the_classes_it_has():
    # First: class 0 common 1 of 3, class 1 common 2 of 4; the place that does not count counts nowhere. Second: class
    # 0 common 1 of 3, class 2 common 3 of 4; class 1, given where none is, has no part of its own.
    by_hand = [(1 / 3 + 2 / 4) / 2, (1 / 3 + 3 / 4) / 2]
    task = Segmentation()
    assert task.scores(logits_of(GIVEN), TRUTH).tolist() == pytest.approx(by_hand)
    kept = task.kept(logits_of(GIVEN), TRUTH)
    found = task.metrics(kept, "test_")
    assert found["test_mean_iou"] == pytest.approx(sum(by_hand) / 2)
    # Over both: class 0 2 of 6, class 1 2 of 5, class 2 3 of 4.
    assert found["corpus_iou"] == pytest.approx((2 / 6 + 2 / 5 + 3 / 4) / 3)
    assert found["place_accuracy"] == pytest.approx(7 / 11)
    assert found["test_loss"] == pytest.approx(task.loss(logits_of(GIVEN), TRUTH).item())
    stored = task.outcomes(kept)
    assert stored["score"].tolist() == pytest.approx(by_hand)
    assert stored["target"][0] != stored["target"][1]


def test_a_segmentation_of_sequences():
    task, truth = Segmentation(), torch.tensor([[0, 0, 1, 1]])
    assert task.scores(logits_of(torch.tensor([[0, 1, 1, 1]]), 2), truth).tolist() == pytest.approx(
        [(1 / 2 + 2 / 3) / 2]
    )
    assert task.output_shape((4, 100), 2) == (2, 100)


def test_class_maps_move_along_with_their_images():
    maps = torch.arange(12, dtype=torch.uint8).view(2, 2, 3)
    augment = Augment.of({"crop_padding": 1, "flip": True}, (2, 3))
    draws = Draws(flip=torch.tensor([True, False]), crop=torch.tensor([[0, 1], [2, 2]]))
    images = maps.unsqueeze(1).movedim(1, -1).contiguous().movedim(-1, 1)
    moved = Segmentation().move_targets(maps, augment, draws)
    assert moved.tolist() == [[[255, 255, 255], [2, 1, 0]], [[10, 11, 255], [255, 255, 255]]]
    inside = moved != 255
    assert torch.equal(augment.move(images, draws)[:, 0][inside], moved[inside])


def test_errors_of_several_numbers_are_averaged():
    task = Regression("degrees")
    output, target = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 0.0], [0.0, -1.0]])
    assert task.scores(output, target).tolist() == [0.5, 2.0]
    found = task.metrics(task.kept(output, target), "test_")
    assert found["test_mean_absolute_error"] == pytest.approx(1.25)
    assert found["root_mean_squared_error"] == pytest.approx(math.sqrt(17 / 4))
    assert found["test_loss"] == pytest.approx(17 / 4)
    assert task.score.shown() == {
        "name": "mean_absolute_error",
        "unit": "degrees",
        "better": "lower",
        "margin": "per cent",
    }
    for loss, by_hand in (("absolute", 5 / 4), ("huber", (0.5 + 3.5) / 4)):
        assert Regression(loss=loss).loss(output, target).item() == pytest.approx(by_hand)


def test_macro_f1_weighs_rare_classes_alike():
    logits = torch.eye(3)[[0, 0, 0, 0, 1]]
    found = Classification().metrics({"logits": logits, "target": torch.tensor([0, 0, 0, 1, 1])}, "test_")
    # Class 0: 2·3/(2·3 + 1), class 1: 2·1/(2·1 + 1), class 2: neither there nor given.
    assert found["macro_f1"] == pytest.approx((6 / 7 + 2 / 3 + 0) / 3)
    assert found["test_accuracy"] == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("task", "targets", "says"),
    [
        (Classification(), torch.tensor([0, 3]), "labels must be in 0..2, got 0..3"),
        (Classification(), torch.tensor([0.0, 1.0]), "must be classes, whole numbers"),
        (Regression(), torch.tensor([[0.0] * 3, [math.nan] * 3]), r"example 1 .*target \[nan.*finite number"),
        (Regression(least=-1, most=1), torch.tensor([[0.0, 2.0, 0.0]]), r"example 0 .*finite number in -1..1"),
        (Regression(), torch.zeros(4, 2), r"shape \(N, 3\).*got torch.float32 of shape \(4, 2\)"),
        (Segmentation(), torch.full((2, 4, 5), 7), r"example 0 .*has the class 7: classes must be in 0..2, or 255"),
        (Segmentation(), torch.zeros(2, 5, 4, dtype=torch.uint8), r"shape \(N, 4, 5\), a class for each place"),
        (Segmentation(), torch.full((2, 4, 5), 255), r"example 0 .*no place that counts"),
    ],
)
def test_what_is_no_target_is_named_by_its_example(task, targets, says):
    with pytest.raises(DataError, match=says):
        task.check_targets(targets, (3, 4, 5), 3, "steering: train")


def test_a_task_must_have_every_part_that_is_asked_of_one():
    members = {name for name in vars(Task) if not name.startswith("_")} | set(Task.__annotations__)
    assert set(PARTS) == members


def test_tasks_are_named_or_specified():
    assert task_for({}, dict).name == "classification"
    assert task_for({"task": "segmentation"}, dict).score.name == "mean_iou"
    made = task_for({"task": {"_target_": "poolbench.tasks.Regression", "unit": "m"}}, dict)
    assert made.score.unit == "m"
    with pytest.raises(ConfigurationError, match=r"`dataset.task.unit` must be a text, got 3"):
        task_for({"task": {"_target_": "poolbench.tasks.Regression", "unit": 3}}, dict)
    with pytest.raises(ConfigurationError, match=r"`dataset.task`.*did you mean regression"):
        task_for({"task": "regresion"}, dict)
    with pytest.raises(ConfigurationError, match=r"lacks name, score, .*derive it from poolbench.tasks.Task"):
        task_for({"task": {"_target_": "torch.nn.Identity"}}, dict)
    with pytest.raises(ConfigurationError, match=r"has loss and does not say of which task.*dataset.task._target_="):
        task_for({"task": {"loss": "huber"}}, dict)
    with pytest.raises(ConfigurationError, match=r"label_smoothing=0.1` does nothing: the task is a regression"):
        made.check_recipe(0.1)


def test_a_score_says_what_breaks_its_rule():
    with pytest.raises(ConfigurationError, match=r"`score.better` must be higher or lower, got 'more'"):
        Score("error", "m", "more", "points")
    with pytest.raises(ConfigurationError, match=r"`task.score` must have name, unit, better and margin"):
        task_of({"task": {"name": "own", "score": {"name": "error"}}})
