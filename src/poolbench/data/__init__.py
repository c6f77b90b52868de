"""Datasets of examples with targets, decoded once; batches with augmentation on the device."""

from poolbench.data.augment import Augment
from poolbench.data.batches import Batches, batch_digest
from poolbench.data.dataset import Dataset, Datasets, OpenDataset, open_dataset, shape_of, step_ms
from poolbench.data.images import HeldImages, ImageSource, LoadedImages, Strata, StreamedImages
from poolbench.data.in_memory import InMemory, InMemoryExamples, held, loaded
from poolbench.data.sizes import sizes_of
from poolbench.data.split import resampled, split, split_digest, subset
from poolbench.data.task import Task, task_for

__all__ = [
    "Augment",
    "Batches",
    "Dataset",
    "Datasets",
    "HeldImages",
    "ImageSource",
    "InMemory",
    "InMemoryExamples",
    "LoadedImages",
    "OpenDataset",
    "Strata",
    "StreamedImages",
    "Task",
    "batch_digest",
    "held",
    "loaded",
    "open_dataset",
    "resampled",
    "shape_of",
    "sizes_of",
    "split",
    "split_digest",
    "step_ms",
    "subset",
    "task_for",
]
