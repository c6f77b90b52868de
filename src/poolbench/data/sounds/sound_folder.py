"""A folder of wav files by class, as log-mel spectrograms that are computed once."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poolbench.data.cache import DecodedCache, SourceFile
from poolbench.data.class_folders import PARTS, Kind, list_classes
from poolbench.data.decoding import digest_of, require_all_read
from poolbench.data.images import HeldImages, LoadedImages, Strata, UnreadableImage
from poolbench.data.in_memory import loaded
from poolbench.data.memory import MIB, limit_bytes
from poolbench.data.sounds.log_mel import LogMel, fit_samples
from poolbench.data.sounds.speakers import groups_of, held_out
from poolbench.data.sounds.wav_files import at_rate, fitted, read_wav
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import expanded

log = logging.getLogger(__name__)

SOUNDS = Kind("sounds", (".wav",), "wav", "no wav file")
CHUNK = 256
DEVICES = ("cpu", "cuda")


class SoundFolder:
    """`train/CLASS/….wav` and `test/CLASS/….wav`, PCM or floating point, of any sample rate and length, mono or not.

    Channels are averaged; another sample rate is resampled by a polyphase filter; of a longer clip the middle is kept,
    a shorter one gets silence at both ends. Spectrograms are uint8 (`poolbench.data.sounds.log_mel.LogMel`), computed
    256 clips at a time and kept in `.poolbench-cache` beside the files, or in the user's own cache folder.

    Args:
        root: the folder that holds `train` and `test`.
        name: what tables call it.
        channels: 1.
        image_size: [bands, frames]: what `bands`, `length_s`, `rate_hz` and `hop` give.
        rate_hz: samples a second that all clips are brought to.
        length_s: seconds that all clips are brought to.
        bands: mel bands.
        fft: samples of a frame.
        hop: samples between frames.
        range_db: decibels below a clip's loudest value that become level 0.
        group: a regular expression with one group in parentheses, found in each file's name: a speaker, a recording.
            Test examples of one group are not independent, which the statistics then know. None: there are none.
        leave_out: names of groups: their files of both parts are the test, all others the training part. None: the
            parts are as the folders say.
        memory_limit_mib: what the spectrograms may take; None: half of the memory that is available.
        device: computes the spectrograms: `cpu` or `cuda`.

    Raises:
        ConfigurationError: an argument is out of range.
        DataError: files are absent or of another kind, have no group, or none of the group that is left out. Unreadable
            files are found in loading.
    """

    channels = 1

    def __init__(
        self,
        *,
        root: str | Path | None,
        name: str = "sound_folder",
        rate_hz: int = 8000,
        length_s: float = 1.0,
        bands: int = 40,
        fft: int = 256,
        hop: int = 128,
        range_db: float = 80.0,
        group: str | None = None,
        leave_out: str | Sequence[str] | None = None,
        memory_limit_mib: float | None = None,
        device: str = "cpu",
    ) -> None:
        if root is None:
            raise DataError(
                "`dataset.root` must name the folder that holds train/CLASS/… and test/CLASS/… with wav files "
                "(dataset.root=PATH), got null"
            )
        if device not in DEVICES:
            raise ConfigurationError(f"`dataset.device` must be one of {', '.join(DEVICES)}, got {device!r}")
        self.log_mel = LogMel(rate_hz, bands, fft, hop, range_db)
        self.samples = fit_samples(length_s, rate_hz)
        self.name = name
        self.device = device
        self.memory_limit_mib = memory_limit_mib
        self.image_size: Sequence[int] = (bands, self.log_mel.frames(self.samples))
        self.step_ms = 1000 * hop / rate_hz
        self.listing = list_classes(expanded(root, "dataset.root"), SOUNDS)
        self.num_classes = len(self.listing.classes)
        self.groups = groups_of([file.path for file in self.listing.files], group)
        self.test = held_out(self.groups, leave_out)

    def fingerprint(self) -> str:
        """Return the SHA-256 over paths below `root` and sizes of all files, and over what is in the test."""
        digest = hashlib.sha256()
        for file in sorted(self.listing.files):
            digest.update(f"{file.path}\0{file.size}\n".encode())
        if self.groups is not None:
            digest.update(" ".join(map(str, self.groups.numbers.tolist())).encode())
        if self.test is not None:
            digest.update(np.packbits(self.test).tobytes())
        return digest.hexdigest()

    def load(self) -> LoadedImages:
        """Return the spectrograms, as computed before where the files are those of then."""
        count = len(self.listing.files)
        nbytes = count * self.image_size[0] * self.image_size[1]
        if nbytes > limit_bytes(self.memory_limit_mib):
            raise DataError(
                f"{self.name}: the spectrograms of {count:,} sounds take {nbytes / MIB:.0f} MiB, the limit is "
                f"{limit_bytes(self.memory_limit_mib) / MIB:.0f} MiB; raise dataset.memory_limit_mib, or lower "
                "dataset.length_s or dataset.bands"
            )
        parameters = (self.log_mel.rate_hz, self.samples, *self.image_size, self.log_mel.fft, self.log_mel.hop)
        key = f"log-mel-{'-'.join(map(str, parameters))}-{self.log_mel.range_db:g}"
        cache = DecodedCache(self.listing.root, key, self.listing.files)
        kept = cache.images()
        if kept is None:
            with cache.writing() as folder:
                # Another process may have computed them while this one waited for the lock.
                kept = cache.images()
                if kept is None:
                    train, test, facts = self._computed()
                    note = _keep(cache, folder, facts, (train, test))
                    return self._split(train, test, [*facts["notes"], note])
        return self._split(kept.train, kept.test, [*kept.facts["notes"], "as computed before"])

    def _computed(self) -> tuple[HeldImages, HeldImages, dict[str, Any]]:
        """Return the spectrograms of both folders, with what is kept beside them."""
        log.info("%s: computing %s spectrograms, once", self.name, f"{len(self.listing.files):,}")
        reading = _Reading(self.listing.root, self.log_mel.rate_hz, self.samples)
        parts = []
        for part in PARTS:
            files = [file for files in self.listing.parts[part] for file in files]
            levels = torch.empty((len(files), *self.image_size, 1), dtype=torch.uint8)
            begin = 0
            for waves in reading.chunks(files):
                levels[begin : begin + len(waves), ..., 0] = self.log_mel(waves.to(self.device)).cpu()
                begin += len(waves)
            counts = torch.tensor([len(files) for files in self.listing.parts[part]])
            parts.append(HeldImages(levels, torch.arange(self.num_classes).repeat_interleave(counts)))
        reading.require_all_read()
        return parts[0], parts[1], {"digest": digest_of(parts[0], parts[1]), "notes": reading.notes()}

    def _split(self, train: HeldImages, test: HeldImages, notes: Sequence[str]) -> LoadedImages:
        """Return both parts: as the folders have them, or with what is left out for the test."""
        classes = self.listing.classes
        of_test = np.arange(len(train) + len(test)) >= len(train) if self.test is None else self.test
        groups, strata = self._origins(of_test)
        if self.test is None:
            return loaded(train, test, classes, notes=notes, test_groups=groups, test_strata=strata)
        everything = HeldImages(torch.cat([train.images, test.images]), torch.cat([train.labels, test.labels]))
        train, test = (everything.take(torch.from_numpy(np.flatnonzero(rows))) for rows in (~of_test, of_test))
        missing = [name for label, name in enumerate(classes) if label not in test.labels or label not in train.labels]
        if missing:
            raise DataError(f"`dataset.leave_out`: a part would have no sound of {', '.join(missing)}")
        return loaded(train, test, classes, notes=notes, test_groups=groups, test_strata=strata)

    def _origins(self, of_test: np.ndarray) -> tuple[Tensor | None, Strata | None]:
        """Return the groups of the test, and the strata that they are; no strata where there is one group."""
        if self.groups is None:
            return None, None
        found, numbers = np.unique(self.groups.numbers[of_test], return_inverse=True)
        names = tuple(self.groups.names[number] for number in found)
        groups = torch.from_numpy(numbers.astype(np.int64))
        return groups, Strata(names, groups) if len(names) > 1 else None


class _Reading:
    """Reads files as waves of one rate and length, and notes what was done to them."""

    def __init__(self, root: Path, rate_hz: int, samples: int) -> None:
        self._root = root
        self._rate_hz = rate_hz
        self._samples = samples
        self._unreadable: list[UnreadableImage] = []
        self._counts = dict.fromkeys(("resampled", "averaged", "cut", "padded"), 0)
        self._files = 0

    def chunks(self, files: Sequence[SourceFile]) -> Iterator[Tensor]:
        """Yield the waves of files in order, float32 (B, samples); zeros of those that cannot be read."""
        for begin in range(0, len(files), CHUNK):
            chunk = files[begin : begin + CHUNK]
            waves = np.zeros((len(chunk), self._samples), np.float32)
            for wave, file in zip(waves, chunk, strict=True):
                try:
                    wave[:] = self._wave(self._root / file.path)
                except UnreadableImage as error:
                    self._unreadable.append(error)
            yield torch.from_numpy(waves)

    def _wave(self, path: Path) -> np.ndarray:
        samples, rate, channels = read_wav(path)
        self._files += 1
        self._counts["resampled"] += rate != self._rate_hz
        self._counts["averaged"] += channels > 1
        samples = at_rate(samples, rate, self._rate_hz)
        self._counts["cut"] += len(samples) > self._samples
        self._counts["padded"] += len(samples) < self._samples
        return fitted(samples, self._samples)

    def require_all_read(self) -> None:
        """Raise `DataError` for files that could not be read: how many, and the first few by path."""
        require_all_read(self._unreadable, len(self._unreadable) + self._files, "sounds")

    def notes(self) -> list[str]:
        """Say what was done to how many files."""
        seconds = self._samples / self._rate_hz
        words = {
            "resampled": f"had another sample rate than {self._rate_hz} Hz and were resampled",
            "averaged": "had several channels, which were averaged",
            "cut": f"were longer than {seconds:g} s: their middle was kept",
            "padded": f"were shorter than {seconds:g} s and got silence at both ends",
        }
        return [f"{count:,} of {self._files:,} sounds {words[key]}" for key, count in self._counts.items() if count]


def _keep(cache: DecodedCache, folder: Path | None, facts: dict[str, Any], parts: tuple[HeldImages, HeldImages]) -> str:
    """Write the cache and return a note that says what became of it."""
    if folder is None:
        return f"not kept on disk: neither {' nor '.join(map(str, cache.folders))} can be written"
    try:
        cache.write(folder, facts, parts)
    except OSError as error:
        return f"not kept on disk: {folder}: {error.strerror or error}"
    return f"kept on disk in {folder}"
