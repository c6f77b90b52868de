"""How well outlines are met: the boundary F-score of class maps."""

import torch.nn.functional as F
from torch import Tensor


def boundary_f(given: Tensor, labels: Tensor, counts: Tensor, num_classes: int, tolerance: int) -> Tensor:
    """Return each example's boundary F-score, the mean over the classes that it has, float64 (B,).

    A place lies on the outline of its class where one of its neighbours along a dimension has another class; the edge
    of the image is no outline. Precision is the share of a class's given outline that has a true one no further than
    `tolerance` in every dimension, recall the share of the true one that has a given one; F is their harmonic mean,
    after Csurka et al. (2013, https://doi.org/10.5244/C.27.32). It is 0 where one of the two outlines is there and the
    other is not or lies elsewhere, and 1 where there is neither.

    Args:
        given: classes, (B, H, W) or (B, L).
        labels: likewise.
        counts: which places count, bool of that shape; an outline neither lies at others nor against them.
        num_classes: how many classes there are.
        tolerance: in places.

    >>> import torch
    >>> labels = torch.tensor([[0, 0, 1, 1, 1, 1]])
    >>> given = torch.tensor([[0, 0, 0, 0, 1, 1]])
    >>> [boundary_f(given, labels, labels >= 0, 2, tolerance).item() for tolerance in (1, 2)]
    [0.0, 1.0]
    """
    if labels.ndim == 2:  # a sequence is a row
        given, labels, counts = (one.unsqueeze(1) for one in (given, labels, counts))
    window = [2 * tolerance + 1 if size > 1 else 1 for size in labels.shape[1:]]
    around = [side // 2 for side in window]
    outlines = [_outline(classes, counts) for classes in (given, labels)]
    total, present = labels.new_zeros(len(labels)).double(), labels.new_zeros(len(labels)).double()
    for number in range(num_classes):
        here = [outline & (classes == number) for outline, classes in zip(outlines, (given, labels), strict=True)]
        near = [F.max_pool2d(one[:, None].float(), window, 1, around)[:, 0] > 0 for one in here]
        sizes = [one.flatten(1).sum(1).double() for one in here]
        precision, recall = (
            (one & other).flatten(1).sum(1) / size.clamp(min=1)
            for one, other, size in zip(here, reversed(near), sizes, strict=True)
        )
        score = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
        score = score.masked_fill((sizes[0] == 0) & (sizes[1] == 0), 1.0)
        there = (counts & (labels == number)).flatten(1).any(1).double()
        total, present = total + there * score, present + there
    return total / present


def _outline(classes: Tensor, counts: Tensor) -> Tensor:
    """Return whether each place that counts has a neighbour that counts and is of another class, bool (B, H, W)."""
    found = counts & False
    for axis in (1, 2):
        size = classes.shape[axis] - 1
        before, behind = (classes.narrow(axis, first, size) for first in (0, 1))
        both = counts.narrow(axis, 0, size) & counts.narrow(axis, 1, size) & (before != behind)
        found.narrow(axis, 0, size).logical_or_(both)
        found.narrow(axis, 1, size).logical_or_(both)
    return found
