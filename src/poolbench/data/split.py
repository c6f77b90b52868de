"""Which training images are used, and which of them validate: by stored indices, balanced by class."""

import hashlib

import torch
from torch import Tensor

from poolbench.checks import is_whole
from poolbench.errors import ConfigurationError
from poolbench.streams import stream

# What can be drawn anew for each seed.
RESAMPLE = "train"


def check_val_fraction(val_fraction: float) -> None:
    """Raise `ConfigurationError` unless `val_fraction` is a number strictly between 0 and 1."""
    number = isinstance(val_fraction, int | float) and not isinstance(val_fraction, bool)
    if not number or not 0 < val_fraction < 1:
        raise ConfigurationError(
            f"`dataset.val_fraction` must lie strictly between 0 and 1 (the share of the training images that "
            f"validates), got {val_fraction!r}"
        )


def split(labels: Tensor, val_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return sorted indices of the training and of the validation part, int64, from the stream `split` of `seed`.

    `round(N · val_fraction)` images validate, shared among the classes in proportion (largest remainders first), and
    no class loses its last image to validation.

    Args:
        labels: classes of all training images, int64 (N,).
        val_fraction: share that validates, strictly between 0 and 1.
        seed: the cell's seed.

    Raises:
        ConfigurationError: `val_fraction` is out of range, or leaves a part without images.

    >>> train, val = split(torch.tensor([0, 1] * 10), 0.2, seed=0)
    >>> len(train), len(val), torch.tensor([0, 1] * 10)[val].bincount().tolist()
    (16, 4, [2, 2])
    """
    check_val_fraction(val_fraction)
    count = len(labels)
    quota = _quotas(labels.bincount(), round(count * val_fraction), val_fraction)
    if quota.sum() < 1 or quota.sum() >= count:
        raise ConfigurationError(
            f"`dataset.val_fraction`={val_fraction!r} of {count} training images leaves "
            f"{int(quota.sum())} to validate; both parts need at least one"
        )
    order = torch.randperm(count, generator=stream(seed, "split"))
    validates = torch.zeros(count, dtype=torch.bool)
    validates[order] = _rank_in_class(labels[order]) < quota[labels[order]]
    return (~validates).nonzero().flatten(), validates.nonzero().flatten()


def subset(labels: Tensor, train_images: int) -> Tensor:
    """Return sorted indices of a stated subset of `train_images` images, the same for every seed.

    One permutation stands for all sizes: classes take turns, so that a subset has classes as equal in number as they
    can be, and a smaller subset lies within every larger one.

    Raises:
        ConfigurationError: fewer than 2 or more than all images are asked for.
    """
    count = len(labels)
    if not is_whole(train_images) or not 2 <= train_images <= count:
        raise ConfigurationError(
            f"`dataset.train_images` must be null (all) or in 2..{count}, the number of training images, "
            f"got {train_images!r}"
        )
    order = torch.randperm(count, generator=stream(0, "train_images"))
    turns = torch.argsort(_rank_in_class(labels[order]), stable=True)
    return order[turns[:train_images]].sort().values


def check_resample(resample: object) -> None:
    """Raise `ConfigurationError` unless `resample` is None or `train`."""
    if resample not in (None, RESAMPLE):
        raise ConfigurationError(
            f"`resample` must be null (every seed trains on the same images) or {RESAMPLE} (each seed on a sample of "
            f"its own), got {resample!r}"
        )


def resampled(indices: Tensor, seed: int) -> Tensor:
    """Return as many sorted indices drawn with replacement from `indices`, from the stream `resample` of `seed`.

    A bootstrap sample stands for another training set of this size: about 63 % of its examples are distinct. Arms of
    equal seed train on equal ones.

    Source: Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks (2021), section 3.

    >>> drawn = resampled(torch.arange(100, 1100), seed=0)
    >>> len(drawn), bool((drawn >= 100).all()), 600 < len(drawn.unique()) < 660
    (1000, True, True)
    """
    drawn = torch.randint(len(indices), (len(indices),), generator=stream(seed, "resample"))
    return indices[drawn.sort().values]


def split_digest(indices: Tensor) -> str:
    """Return the SHA-256 of stored indices."""
    return hashlib.sha256(indices.to(torch.int64).contiguous().numpy().astype("<i8").tobytes()).hexdigest()


def _rank_in_class(labels: Tensor) -> Tensor:
    """Return for each entry how many of its class come before it."""
    by_class = torch.argsort(labels, stable=True)
    sizes = labels.bincount()
    begins = torch.cumsum(sizes, 0) - sizes
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - begins[labels[by_class]]
    return rank


def _quotas(sizes: Tensor, total: int, fraction: float) -> Tensor:
    shares = sizes.double() * fraction
    quota = shares.floor().long()
    left = max(0, total - int(quota.sum()))
    quota[torch.argsort(quota - shares, stable=True)[:left]] += 1
    return torch.minimum(quota, (sizes - 1).clamp(min=0))
