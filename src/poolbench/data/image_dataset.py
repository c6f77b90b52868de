"""The part that all of poolbench's own datasets share: checked arguments, and loading into memory or as a stream."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from poolbench.checks import is_whole
from poolbench.data.cache import DecodedCache
from poolbench.data.content import Content
from poolbench.data.decoding import (
    ChannelMoments,
    ChannelSums,
    ContentDigest,
    channel_sums,
    decode,
    digest_of,
    dtype_of,
    read_in_order,
    restored_sums,
    sums_for,
)
from poolbench.data.images import HeldImages, ImageSource, LoadedImages, StreamedImages
from poolbench.data.memory import MIB, limit_bytes
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError

log = logging.getLogger(__name__)


class ImageDataset(ABC):
    """A dataset that opens without reading an image, and loads once.

    Args:
        name: what tables call it.
        channels: 1 (grey) or 3 (colour).
        image_size: height and width that the network sees: one number for square images, or a list of two.
        num_classes: number of classes.
        streaming: `auto` holds the decoded images in memory where they fit, `True` always decodes anew in each pass,
            `False` always holds them.
        memory_limit_mib: what the decoded images may take; None: half of the memory that is available.
        workers: processes that decode a stream.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        name: str,
        channels: int,
        image_size: int | Sequence[int],
        num_classes: int,
        streaming: bool | str = "auto",
        memory_limit_mib: float | None = None,
        workers: int = 2,
    ) -> None:
        if len(sizes_of(image_size)) != 2:
            raise ConfigurationError(f"`dataset.image_size` must be one number or two for images, got {image_size!r}")
        if not is_whole(num_classes) or num_classes < 2:
            raise ConfigurationError(f"`dataset.num_classes` must be a whole number, at least 2, got {num_classes!r}")
        if channels not in (1, 3):
            raise ConfigurationError(f"`dataset.channels` must be 1 (grey) or 3 (colour), got {channels!r}")
        if streaming not in ("auto", True, False):
            raise ConfigurationError(f"`dataset.streaming` must be auto, true or false, got {streaming!r}")
        number = isinstance(memory_limit_mib, int | float) and not isinstance(memory_limit_mib, bool)
        if memory_limit_mib is not None and not (number and memory_limit_mib >= 0):
            raise ConfigurationError(f"`dataset.memory_limit_mib` must be null or at least 0, got {memory_limit_mib!r}")
        if not is_whole(workers) or workers < 0:
            raise ConfigurationError(f"`dataset.workers` must be a whole number, at least 0, got {workers!r}")
        self.name = name
        self.channels = channels
        self.image_size = image_size
        self.sizes = sizes_of(image_size)
        self.num_classes = num_classes
        self.streaming = streaming
        self.memory_limit_mib = memory_limit_mib
        self.workers = workers

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what stands for the content in a cell's identity; equal on machines that hold the same files."""

    @abstractmethod
    def content(self) -> Content:
        """Open both parts; raise `DataError` where they are absent or unusable."""

    def prepare(self) -> None:  # noqa: B027 (nothing to do is the rule)
        """Have the files; raise `DataError` where they are missing."""

    def cache(self) -> DecodedCache | None:
        """Return where the decoded images are kept on disk, or None where decoding costs nothing."""
        return None

    def load(self) -> LoadedImages:
        """Return the images, held in memory or as a stream; raise `DataError` where they are absent or unusable."""
        self.prepare()
        cache = self.cache()
        if cache is None:
            return self._decode(self.content(), None, None)
        ready = self._ready(cache)
        if ready is not None:
            return ready
        with cache.writing() as folder:
            # Another process may have decoded them while this one waited for the lock.
            ready = self._ready(cache)
            return ready if ready is not None else self._decode(self.content(), cache, folder)

    def _fits(self, nbytes: int) -> bool:
        if self.streaming == "auto":
            return nbytes <= limit_bytes(self.memory_limit_mib)
        return not self.streaming

    def _ready(self, cache: DecodedCache) -> LoadedImages | None:
        """Return the images where the cache spares decoding them."""
        facts = cache.facts()
        if facts is None:
            return None
        if not self._fits(facts["nbytes"]):
            return self._streamed(self.content(), facts)
        kept = cache.images()
        return None if kept is None else self._held(kept.train, kept.test, kept.facts, "as decoded before")

    def _decode(self, content: Content, cache: DecodedCache | None, folder: Path | None) -> LoadedImages:
        """Decode everything once: into memory, or for what must be known of a stream."""
        count = len(content.train) + len(content.test)
        if not self._fits(content.nbytes):
            if cache is not None:
                log.info("%s: reading %s images once, for their statistics", self.name, f"{count:,}")
            facts = _facts_of_stream(content)
            note = _keep(cache, folder, facts, None)
            return self._streamed(content, facts, *note)
        if cache is not None:
            log.info("%s: decoding %s images, once", self.name, f"{count:,}")
        train = HeldImages(torch.from_numpy(decode(content.train)), content.train_labels)
        test = HeldImages(torch.from_numpy(decode(content.test)), content.test_labels)
        facts = _facts(content, channel_sums(train), digest_of(train, test))
        note = _keep(cache, folder, facts, (train, test))
        kept = cache.images() if cache is not None else None
        if kept is not None:  # mapped from disk, other processes share the pages
            train, test = kept.train, kept.test
        return self._held(train, test, facts, *note)

    def _held(self, train: HeldImages, test: HeldImages, facts: dict[str, Any], *notes: str) -> LoadedImages:
        said = f"held in memory: {(train.images.nbytes + test.images.nbytes) / MIB:.0f} MiB"
        return _loaded(train, test, facts, streaming=False, notes=(said, *notes))

    def _streamed(self, content: Content, facts: dict[str, Any], *notes: str) -> LoadedImages:
        train = StreamedImages(content.train, content.train_labels, self.workers)
        test = StreamedImages(content.test, content.test_labels, self.workers)
        limit = "" if self.streaming is True else f", limit {limit_bytes(self.memory_limit_mib) / MIB:.0f} MiB"
        said = f"streams through {self.workers} workers: {content.nbytes / MIB:.0f} MiB decoded{limit}"
        return _loaded(train, test, facts, streaming=True, notes=(said, *notes))


def _facts(content: Content, sums: ChannelSums | ChannelMoments, digest: str) -> dict[str, Any]:
    return {
        "digest": digest,
        "nbytes": content.nbytes,
        "class_names": list(content.class_names),
        "notes": [
            *content.notes,
            *(f"train: {note}" for note in content.train.notes()),
            *(f"test: {note}" for note in content.test.notes()),
        ],
        "sums": asdict(sums),
    }


def _facts_of_stream(content: Content) -> dict[str, Any]:
    """Read every image once, hold none, and return the same facts as of images in memory."""
    digest = ContentDigest()
    sums = sums_for(content.train.shape, uint8=dtype_of(content.train) == np.uint8)
    for part, reader, labels in (
        ("train", content.train, content.train_labels),
        ("test", content.test, content.test_labels),
    ):
        digest.begin(part, reader.shape, len(reader))
        for batch in read_in_order(reader):
            digest.add(batch.movedim(1, -1).numpy())
            if part == "train":
                sums.add(batch)
        digest.end(labels)
    return _facts(content, sums, digest.hexdigest())


def _keep(
    cache: DecodedCache | None,
    folder: Path | None,
    facts: dict[str, Any],
    parts: tuple[HeldImages, HeldImages] | None,
) -> tuple[str, ...]:
    """Write the cache and return a note that says what became of it."""
    if cache is None:
        return ()
    if folder is None:
        return (f"not kept on disk: neither {' nor '.join(map(str, cache.folders))} can be written",)
    try:
        cache.write(folder, facts, parts)
    except OSError as error:
        return (f"not kept on disk: {folder}: {error.strerror or error}",)
    return (f"kept on disk in {folder}",)


def _loaded(
    train: ImageSource, test: ImageSource, facts: dict[str, Any], *, streaming: bool, notes: tuple[str, ...]
) -> LoadedImages:
    sums = restored_sums(facts["sums"])
    return LoadedImages(
        train=train,
        test=test,
        class_names=tuple(facts["class_names"]),
        mean=sums.mean(),
        std=sums.std(),
        digest=facts["digest"],
        streaming=streaming,
        notes=(*facts["notes"], *notes),
    )
