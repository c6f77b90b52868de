"""Loss and score of an epoch: of every batch, or where scoring is dear of some."""

import pytest
import torch
from training.recipes import RECIPE

from poolbench.tasks import Classification, Segmentation, Task
from poolbench.training import Protocol
from poolbench.training.module import Learner


def epoch_of(task: Task, targets: list[torch.Tensor]) -> tuple[tuple[float, float], list[float], list[float]]:
    """Return what an epoch reads, and each batch's loss and mean score; the output is the example itself."""
    learner = Learner(torch.nn.Identity(), Protocol.of(RECIPE), seed=0, task=task)
    draw = torch.Generator().manual_seed(0)
    losses, scores = [], []
    for number, target in enumerate(targets):
        output = torch.randn(target.shape[0], 3, *target.shape[1:], generator=draw)
        losses.append(float(learner.training_step((output, target), number)))
        scores.append(float(task.scores(output, target).float().mean()))
    return learner.training_sums.read(), losses, scores


def test_every_batch_of_a_classification() -> None:
    draw = torch.Generator().manual_seed(1)
    (loss, score), losses, scores = epoch_of(Classification(), [torch.randint(3, (8,), generator=draw)] * 6)
    assert abs(loss - sum(losses) / 6) < 1e-6
    assert abs(score - sum(scores) / 6) < 1e-6


@pytest.mark.parametrize("sizes", [(8,), (4, 4), (1, 2, 5)])
def test_the_loss_is_the_mean_over_places_however_the_batches_lie(sizes: tuple[int, ...]) -> None:
    task, draw = Segmentation(), torch.Generator().manual_seed(2)
    output = torch.randn(8, 3, 4, 4, generator=draw)
    target = torch.randint(3, (8, 4, 4), generator=draw)
    target[:3, 1:] = task.ignore  # the first three count a fourth of their places
    learner = Learner(torch.nn.Identity(), Protocol.of(RECIPE), seed=0, task=task)
    for number, part in enumerate(zip(output.split(sizes), target.split(sizes), strict=True)):
        learner.training_step(part, number)
    expected = torch.nn.functional.cross_entropy(output, target, ignore_index=task.ignore)
    assert abs(learner.training_sums.read()[0] - float(expected)) < 1e-6


def test_every_fourth_batch_of_a_segmentation_and_every_loss() -> None:
    draw = torch.Generator().manual_seed(1)
    sizes = [8, 8, 8, 8, 8, 2]
    targets = [torch.randint(3, (size, 6, 6), generator=draw) for size in sizes]
    (loss, score), losses, scores = epoch_of(Segmentation(), targets)
    assert abs(loss - sum(n * one for n, one in zip(sizes, losses, strict=True)) / sum(sizes)) < 1e-6
    assert abs(score - (scores[0] + scores[4]) / 2) < 1e-6
    assert len(set(scores)) == 6
