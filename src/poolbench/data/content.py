"""What a dataset holds before it is loaded, and how arrays become it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from poolbench.data.fit_size import fit_size
from poolbench.data.images import LoadedImages, Reader
from poolbench.data.loading import load_held


@dataclass(frozen=True)
class Content:
    """Both parts of a dataset, not yet decoded.

    Args:
        train: reads training images.
        train_labels: int64 (N,).
        test: reads test images.
        test_labels: int64 (M,).
        class_names: a name for each class.
        notes: what a reader of the log should know, a line each.
    """

    train: Reader
    train_labels: Tensor
    test: Reader
    test_labels: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
