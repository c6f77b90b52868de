"""Loss and score of an epoch: of every batch, or where scoring is dear of some."""

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


def test_every_fourth_batch_of_a_segmentation_and_every_loss() -> None:
    draw = torch.Generator().manual_seed(1)
    sizes = [8, 8, 8, 8, 8, 2]
    targets = [torch.randint(3, (size, 6, 6), generator=draw) for size in sizes]
    (loss, score), losses, scores = epoch_of(Segmentation(), targets)
    assert abs(loss - sum(n * one for n, one in zip(sizes, losses, strict=True)) / sum(sizes)) < 1e-6
    assert abs(score - (scores[0] + scores[4]) / 2) < 1e-6
    assert len(set(scores)) == 6
