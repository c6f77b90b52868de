"""A class for each place of an example."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.checks import is_whole, whole_number
from poolbench.data.augment import Augment, Draws
from poolbench.errors import ConfigurationError, DataError, unknown_name
from poolbench.score import FRACTION, HIGHER, POINTS, Score
from poolbench.tasks.boundary import boundary_f
from poolbench.tasks.confusion import confusion, most_likely
from poolbench.tasks.task import Task

SCORES = {name: Score(name, FRACTION, HIGHER, POINTS) for name in ("mean_iou", "boundary_f")}


class Segmentation(Task):
    """A class for each place: targets are in 0..K−1, (N, H, W) or (N, L), outputs logits (B, K, H, W) or (B, K, L).

    Loss: mean cross-entropy over the places. Score: the mean over the classes that the example has of the
    intersection over union of its places and those that were given that class; its mean is the mean IoU. Or the mean
    over these classes of the F-score of their outlines (`boundary_f`). The other one stands beside it, and the loss
    (nats), the share of places that are right, and the IoU of each class over all places of the test set, averaged over
    the classes (`corpus_iou`), which is no mean of examples.

    Args:
        score: `mean_iou` or `boundary_f`, what verdicts are drawn from and the best epoch is chosen by.
        tolerance: places by which outlines may lie apart and count as met.
        ignore: the class of places that do not count, neither in the loss nor in a score; what moves in from outside
            where the augmentation pads with zeros is given it.

    >>> task, target = Segmentation(), torch.tensor([[[0, 0], [1, 255]]])
    >>> logits = F.one_hot(torch.tensor([[[0, 1], [1, 0]]]), 2).movedim(-1, 1).float()
    >>> task.scores(logits, target).tolist()  # 1 of 2 places of either class
    [0.5]
    """

    name = "segmentation"
    score = SCORES["mean_iou"]
    # To find the class of every place takes up to a twentieth of a small network's step.
    scored_every = 4

    def __init__(self, score: str = "mean_iou", tolerance: int = 1, ignore: int = 255) -> None:
        if score not in SCORES:
            raise unknown_name("`dataset.task.score`", str(score), SCORES)
        self.score = SCORES[score]
        self.beside = tuple(other for name, other in SCORES.items() if name != score)
        self.tolerance = whole_number("dataset.task.tolerance", tolerance, least=0)
        if not is_whole(ignore) or not 0 <= ignore <= 255:
            raise ConfigurationError(f"`dataset.task.ignore` must be a whole number in 0..255, got {ignore!r}")
        self.ignore = ignore

    def check_targets(self, targets: Tensor, shape: tuple[int, ...], num_classes: int, what: str) -> None:
        """Raise `DataError` unless targets are class maps of the examples' size with a place that counts."""
        if targets.is_floating_point() or tuple(targets.shape[1:]) != tuple(shape[1:]):
            raise DataError(
                f"{what} targets must be whole numbers of shape (N, {', '.join(map(str, shape[1:]))}), a class for "
                f"each place, got {targets.dtype} of shape {tuple(targets.shape)}"
            )
        if num_classes > self.ignore:
            raise ConfigurationError(
                f"`dataset.task.ignore` must be no class: at least {num_classes} for {num_classes} classes, "
                f"got {self.ignore}"
            )
        for first, part in zip(range(0, len(targets), 256), targets.split(256), strict=True):
            places = part.flatten(1)
            counts = places != self.ignore
            wrong = (counts & ((places < 0) | (places >= num_classes))).any(1)
            if wrong.any():
                at = int(wrong.nonzero()[0])
                found = sorted(set(places[at][counts[at]].tolist()) - set(range(num_classes)))
                raise DataError(
                    f"{what} example {first + at:,} (counted from 0) has the class {found[0]}: classes must be in "
                    f"0..{num_classes - 1}, or {self.ignore} for places that do not count"
                )
            empty = (~counts).all(1)
            if empty.any():
                raise DataError(
                    f"{what} example {first + int(empty.nonzero()[0]):,} (counted from 0) has no place that counts: "
                    f"all are {self.ignore}; leave it out"
                )

    def output_shape(self, shape: tuple[int, ...], num_classes: int) -> tuple[int, ...]:
        """Return (K, H, W) or (K, L)."""
        return num_classes, *shape[1:]

    def move_targets(self, targets: Tensor, augment: Augment, draws: Draws) -> Tensor:
        """Mirror, crop and shift class maps as their examples were."""
        return augment.move(targets.unsqueeze(1), draws, outside=self.ignore).squeeze(1)

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy over the places that count, nats; 0 for a batch that has none."""
        total = F.cross_entropy(
            output.float(),
            target.long(),
            ignore_index=self.ignore,
            label_smoothing=label_smoothing,
            reduction="sum",
        )
        return total / self.weight(target).clamp(min=1)

    def weight(self, target: Tensor) -> Tensor:
        """Return how many places count."""
        return (target != self.ignore).sum()

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """Return each example's score over the classes it has, (B,); NaN for one without a place that counts."""
        if self.score.name == "boundary_f":
            return self._boundary_f(output, target)
        _, union, common, present = self._counts(output, target)
        return _mean_iou(common, union, present)

    def _boundary_f(self, output: Tensor, target: Tensor) -> Tensor:
        labels = target.long()
        return boundary_f(most_likely(output).long(), labels, labels != self.ignore, output.shape[1], self.tolerance)

    def kept(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return each example's places by class (in both target and output, in either, in target), loss, scores."""
        size, union, common, present = self._counts(output, target)
        each = F.cross_entropy(output.float(), target.long(), ignore_index=self.ignore, reduction="none")
        scores = {"mean_iou": _mean_iou(common, union, present), "boundary_f": self._boundary_f(output, target)}
        return {
            "intersection": common,
            "union": union,
            "size": size,
            "loss": each.flatten(1).double().sum(1) / size.sum(1).clamp(min=1),
            "score": scores[self.score.name],
            **{score.name: scores[score.name] for score in self.beside},
            "target": _digests(target),
        }

    def metrics(self, kept: Mapping[str, Tensor], prefix: str = "") -> dict[str, float]:
        """Return mean IoU, boundary F-score, loss, IoU over the whole corpus and the share of places that are right."""
        common, union, size = (kept[name].sum(0).double() for name in ("intersection", "union", "size"))
        there = union > 0
        places = kept["size"].sum(1).double()
        return {
            f"{prefix}{self.score.name}": float(kept["score"].mean()),
            f"{prefix}loss": float((kept["loss"] * places).sum() / places.sum()),
            **{score.name: float(kept[score.name].mean()) for score in self.beside},
            "corpus_iou": float((common[there] / union[there]).mean()),
            "place_accuracy": float(common.sum() / size.sum()),
        }

    def shown(self, output: Tensor) -> Tensor | None:
        """Return the class that each place is given, uint8."""
        return most_likely(output).to(torch.uint8)

    def outcomes(self, kept: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return each example's counts by class, int32, its scores, and a digest of its class map for a target."""
        counts = {name: kept[name].numpy().astype(np.int32) for name in ("intersection", "union", "size")}
        scores = {name: kept[name].numpy() for name in ("score", *SCORES) if name in kept}
        return counts | scores | {"target": kept["target"].numpy()}

    def trial_targets(self, count: int, shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> Tensor:
        """Return random classes."""
        return torch.randint(num_classes, (count, *shape[1:]), generator=generator)

    def _counts(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return for each example and class, (B, K): places in the target, in either, in both; whether it is there."""
        table = confusion(most_likely(output), target, output.shape[1], self.ignore)
        common = table.diagonal(dim1=1, dim2=2)
        size = table.sum(2)
        return size, size + table.sum(1) - common, common, size > 0


def _mean_iou(common: Tensor, union: Tensor, present: Tensor) -> Tensor:
    return (common / union.clamp(min=1) * present).double().sum(1) / present.sum(1)


def _digests(target: Tensor) -> Tensor:
    """Return 63 bits of a digest of each class map, int64 (B,): equal ones, equal maps."""
    found = [hashlib.sha256(one.cpu().to(torch.uint8).contiguous().numpy().tobytes()).digest() for one in target]
    return torch.tensor([int.from_bytes(digest[:8], "little") >> 1 for digest in found], device=target.device)
