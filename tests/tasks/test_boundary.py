"""The boundary F-score, by hand and against another way to reckon it."""

import pytest
import torch

from poolbench.errors import ConfigurationError
from poolbench.tasks import Segmentation
from poolbench.tasks.boundary import boundary_f


def logits(classes: torch.Tensor, count: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes, count).movedim(-1, 1).float()


def score(given: torch.Tensor, truth: torch.Tensor, tolerance: int = 1, classes: int = 3) -> list[float]:
    return boundary_f(given, truth, truth != 255, classes, tolerance).tolist()


def square(at: int, side: int = 4, size: int = 12) -> torch.Tensor:
    mask = torch.zeros(1, size, size, dtype=torch.long)
    mask[:, at : at + side, at : at + side] = 1
    return mask


def reckoned(given: torch.Tensor, truth: torch.Tensor, classes: int, tolerance: int) -> float:
    """Return the score of one pair, place by place."""
    height, width = truth.shape

    def outline(mask: torch.Tensor, number: int) -> set[tuple[int, int]]:
        found = set()
        for y in range(height):
            for x in range(width):
                near = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
                inside = [(a, b) for a, b in near if 0 <= a < height and 0 <= b < width]
                if mask[y, x] == number and any(mask[a, b] != number for a, b in inside):
                    found.add((y, x))
        return found

    scores = []
    for number in range(classes):
        if not (truth == number).any():
            continue
        own, real = outline(given, number), outline(truth, number)
        if not own and not real:
            scores.append(1.0)
            continue

        def met(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> float:
            near = sum(any(max(abs(y - b), abs(x - c)) <= tolerance for b, c in other) for y, x in one)
            return near / max(len(one), 1)

        precision, recall = met(own, real), met(real, own)
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_it_is_what_counting_place_by_place_gives(tolerance):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (5, 9, 7), generator=generator)
    given = torch.where(torch.rand(5, 9, 7, generator=generator) < 0.8, truth, torch.randint(3, (5, 9, 7)))
    found = score(given, truth, tolerance)
    assert found == pytest.approx([reckoned(a, b, 3, tolerance) for a, b in zip(given, truth, strict=True)])


def test_an_outline_within_the_tolerance_is_met_and_one_further_is_not():
    assert score(square(3), square(3), 0) == [1.0]
    assert score(square(4), square(3), 1) == [1.0]
    assert score(square(4), square(3), 0)[0] < 0.5
    assert score(square(0, 2), square(8, 2), 1) == [0.0]


def test_images_of_one_class_have_no_outline():
    empty = torch.zeros(1, 6, 6, dtype=torch.long)
    assert score(empty, empty) == [1.0]
    assert score(square(2, 2, 6), empty) == [0.0]
    assert score(empty, square(2, 2, 6)) == [0.0]


def test_what_does_not_count_has_no_outline_and_makes_none():
    truth = square(3)
    truth[:, 3:7, 3:7] = 255
    given = torch.randint(2, truth.shape)
    given[truth == 0] = 0
    assert score(given, truth) == [1.0]


def test_the_task_draws_verdicts_from_the_score_that_is_asked_for():
    given, truth = logits(square(4), 2), square(3)
    iou, outlines = Segmentation(), Segmentation(score="boundary_f")
    assert outlines.score.name == "boundary_f"
    for task, other in ((iou, "boundary_f"), (outlines, "mean_iou")):
        kept = task.kept(given, truth)
        assert torch.equal(kept["score"], task.scores(given, truth))
        metrics = task.metrics(kept, prefix="test_")
        assert metrics[f"test_{task.score.name}"] == pytest.approx(float(kept["score"].mean()))
        assert other in metrics
        assert other in task.outcomes(kept)
    assert (
        iou.metrics(iou.kept(given, truth))["boundary_f"] == outlines.metrics(outlines.kept(given, truth))["boundary_f"]
    )
    assert iou.scores(given, truth) < outlines.scores(given, truth)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"score": "iou"}, "unknown `dataset.task.score` 'iou'"), ({"tolerance": -1}, "`dataset.task.tolerance` must be")],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        Segmentation(**arguments)


def test_sequences_have_outlines_too():
    truth = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2, 2]])
    assert score(truth, truth, 0) == [1.0]
    assert score(truth.roll(1, 1).where(torch.arange(10) > 0, 0), truth, 1) == [1.0]
