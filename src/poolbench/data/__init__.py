"""Datasets as uint8 images, decoded once; batches with augmentation on the device."""

from poolbench.data.augment import Augment
from poolbench.data.batches import Batches, batch_digest
from poolbench.data.dataset import Dataset, Datasets, InMemory, open_dataset
from poolbench.data.images import HeldImages, ImageSource, LoadedImages, StreamedImages
from poolbench.data.split import split, split_digest, subset

__all__ = [
    "Augment",
    "Batches",
    "Dataset",
    "Datasets",
    "HeldImages",
    "ImageSource",
    "InMemory",
    "LoadedImages",
    "StreamedImages",
    "batch_digest",
    "open_dataset",
    "split",
    "split_digest",
    "subset",
]
