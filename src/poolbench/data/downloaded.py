"""The customary small data sets, read by torchvision; downloaded only when asked (`download=True`).

torchvision states an MD5 digest for every file it downloads, and they are checked here before anything is unpickled or
decoded. CIFAR and SVHN lie on disk as downloaded. MNIST and Fashion-MNIST are unpacked after the download and no digest
of the unpacked files is published: where the `.gz` files lie beside them, those are checked and read; where only
unpacked files are, their format is checked (magic number, counts, sizes, labels) and a note says so.
"""

import gzip
import hashlib
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
import torchvision.datasets as tv
from filelock import FileLock
from torchvision.datasets.utils import calculate_md5

from poolbench.data.cache import DecodedCache, SourceFile
from poolbench.data.content import ArrayReader, Content
from poolbench.data.image_dataset import ImageDataset
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import expanded

Part = tuple[np.ndarray, np.ndarray]


class Downloaded(ImageDataset):
    """A data set whose files are known: names, digests, where they come from.

    Args:
        root: the folder that torchvision would be given; made when something is downloaded.
        download: fetch what is missing.

    Raises:
        ConfigurationError: an argument contradicts what the data set is.
    """

    kind: str
    native_channels: int
    native_classes: int

    def __init__(
        self,
        *,
        name: str,
        channels: int,
        image_size: int | Sequence[int],
        num_classes: int,
        root: str | Path = "data",
        download: bool = False,
        streaming: bool | str = "auto",
        memory_limit_mib: float | None = None,
        workers: int = 2,
    ) -> None:
        super().__init__(
            name=name,
            channels=channels,
            image_size=image_size,
            num_classes=num_classes,
            streaming=streaming,
            memory_limit_mib=memory_limit_mib,
            workers=workers,
        )
        for argument, value, own in (
            ("channels", channels, self.native_channels),
            ("num_classes", num_classes, self.native_classes),
        ):
            if value != own:
                raise ConfigurationError(f"`dataset.{argument}` must be {own} for {self.kind}, got {value!r}")
        if not isinstance(download, bool):
            raise ConfigurationError(f"`dataset.download` must be true or false, got {download!r}")
        self.root = expanded(root, "dataset.root")
        self.download = download

    def fingerprint(self) -> str:
        """Return the digest of the published files' digests."""
        return f"{self.kind}/{hashlib.sha256(repr(self._digests()).encode()).hexdigest()[:32]}"

    def prepare(self) -> None:
        """Have the files: raise `DataError` where they are missing and cannot, or may not, be downloaded."""
        missing = self._missing()
        if not missing:
            return
        belongs = (
            f"the files of {self.kind} belong in {self.root.absolute()}:\n"
            + "\n".join(f"  {path}" for path in self._expected())
            + f"\nthey come from\n{self._origins()}"
        )
        if not self.download:
            raise DataError(
                f"{self.kind} is not there: {len(missing)} files are missing, first {self.root / missing[0]}. Download "
                f"it with dataset.download=true, point dataset.root at it, or put it there by hand; {belongs}"
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{self.kind}.download.lock", mode=0o666):
                if self._missing():
                    self._fetch()
        except (RuntimeError, URLError, OSError) as error:
            raise DataError(
                f"{self.kind} could not be downloaded into {self.root}: {str(error).strip() or type(error).__name__}. "
                f"Without a network put it there by hand; {belongs}"
            ) from error
        if self._missing():
            raise DataError(f"{self.kind} was downloaded, but {self._missing()[0]} is still missing; {belongs}")

    def cache(self) -> DecodedCache:
        """Return the cache beside the files."""
        files = []
        for path in self._present():
            state = path.stat()
            files.append(SourceFile(path.name, state.st_size, state.st_mtime_ns))
        return DecodedCache(self.root, f"{self.kind}-{self.channels}x{self.sizes[0]}x{self.sizes[1]}", files)

    def content(self) -> Content:
        """Check the files and read them."""
        self.prepare()
        (train, train_labels), (test, test_labels), class_names, notes = self._read()
        return Content(
            ArrayReader(train, self.image_size),
            torch.from_numpy(train_labels.astype(np.int64)),
            ArrayReader(test, self.image_size),
            torch.from_numpy(test_labels.astype(np.int64)),
            tuple(class_names),
            tuple(notes),
        )

    def _check(self, path: Path, md5: str) -> None:
        found = calculate_md5(path)
        if found != md5:
            raise DataError(
                f"{path} is not the file of {self.kind}: its MD5 is {found}, published is {md5}; remove it and "
                f"download it anew (dataset.download=true)"
            )

    def _missing(self) -> list[str]:
        return [path for path in self._expected() if not (self.root / path).is_file()]

    def _present(self) -> list[Path]:
        return [self.root / path for path in self._expected() if (self.root / path).is_file()]

    @abstractmethod
    def _expected(self) -> list[str]:
        """Return the files by their path below `root`."""

    @abstractmethod
    def _digests(self) -> list[tuple[str, str]]:
        """Return names and MD5 digests of what is downloaded."""

    @abstractmethod
    def _origins(self) -> str:
        """Return the addresses, a line each."""

    @abstractmethod
    def _fetch(self) -> None:
        """Download the files by torchvision, which checks their digests."""

    @abstractmethod
    def _read(self) -> tuple[Part, Part, Sequence[str], Sequence[str]]:
        """Check digests; return images (N, H, W, C) and labels of both parts, class names and notes."""


class MNIST(Downloaded):
    """MNIST: 60,000 + 10,000 grey handwritten digits, 28×28 (LeCun, Cortes and Burges, 1998)."""

    kind = "MNIST"
    native_channels = 1
    native_classes = 10
    torchvision_class: type[tv.MNIST] = tv.MNIST
    counts = (60_000, 10_000)

    def _expected(self) -> list[str]:
        # Either form will do; the packed one, whose digest is known, is named where neither is there.
        paths = []
        for packed, _ in self.torchvision_class.resources:
            path = f"{self.kind}/raw/{packed}"
            unpacked = path.removesuffix(".gz")
            there = not (self.root / path).is_file() and (self.root / unpacked).is_file()
            paths.append(unpacked if there else path)
        return paths

    def _digests(self) -> list[tuple[str, str]]:
        return [(name, md5) for name, md5 in self.torchvision_class.resources]

    def _origins(self) -> str:
        return "\n".join(
            f"  {self.torchvision_class.mirrors[0]}{name} (MD5 {md5})" for name, md5 in self.torchvision_class.resources
        )

    def _fetch(self) -> None:
        self.torchvision_class(self.root, download=True)

    def _read(self) -> tuple[Part, Part, Sequence[str], Sequence[str]]:
        paths = [self.root / path for path in self._expected()]
        for path, (_, md5) in zip(paths, self._digests(), strict=True):
            if path.suffix == ".gz":
                self._check(path, md5)
        unpacked = [path.name for path in paths if path.suffix != ".gz"]
        notes = [f"checked by format alone, for want of the .gz: {', '.join(unpacked)}"] if unpacked else []
        train, test = (
            (_read_idx(images, (count, 28, 28))[..., None], self._labels(labels, count))
            for images, labels, count in zip(paths[::2], paths[1::2], self.counts, strict=True)
        )
        return train, test, self.torchvision_class.classes, notes

    def _labels(self, path: Path, count: int) -> np.ndarray:
        labels = _read_idx(path, (count,))
        if labels.max() >= self.native_classes:
            raise DataError(f"{path} holds labels up to {labels.max()}; {self.kind} has 0..{self.native_classes - 1}")
        return labels


class FashionMNIST(MNIST):
    """Fashion-MNIST: 60,000 + 10,000 grey pictures of clothes, 28×28 (Xiao, Rasul and Vollgraf, 2017)."""

    kind = "FashionMNIST"
    torchvision_class = tv.FashionMNIST


class CIFAR10(Downloaded):
    """CIFAR-10: 50,000 + 10,000 colour pictures of ten classes, 32×32 (Krizhevsky, 2009)."""

    kind = "CIFAR10"
    native_channels = 3
    native_classes = 10
    torchvision_class: type[tv.CIFAR10] = tv.CIFAR10

    def _digests(self) -> list[tuple[str, str]]:
        listed = self.torchvision_class
        meta = (listed.meta["filename"], listed.meta["md5"])
        return [*((name, md5) for name, md5 in [*listed.train_list, *listed.test_list]), meta]

    def _expected(self) -> list[str]:
        return [f"{self.torchvision_class.base_folder}/{name}" for name, _ in self._digests()]

    def _origins(self) -> str:
        return f"  {self.torchvision_class.url} (MD5 {self.torchvision_class.tgz_md5}), unpacked"

    def _fetch(self) -> None:
        self.torchvision_class(self.root, download=True)

    def _read(self) -> tuple[Part, Part, Sequence[str], Sequence[str]]:
        for path, (_, md5) in zip(self._expected(), self._digests(), strict=True):
            self._check(self.root / path, md5)
        train, test = (self.torchvision_class(self.root, train=part) for part in (True, False))
        labels = np.asarray(train.targets), np.asarray(test.targets)
        return (train.data, labels[0]), (test.data, labels[1]), train.classes, ()


class CIFAR100(CIFAR10):
    """CIFAR-100: as CIFAR-10 with a hundred classes (its fine labels)."""

    kind = "CIFAR100"
    native_classes = 100
    torchvision_class = tv.CIFAR100


class SVHN(Downloaded):
    """SVHN: 73,257 + 26,032 colour house numbers cut to digits, 32×32 (Netzer et al., 2011); without the extra part."""

    kind = "SVHN"
    native_channels = 3
    native_classes = 10

    def _files(self) -> list[tuple[str, str, str]]:
        return [tuple(tv.SVHN.split_list[part]) for part in ("train", "test")]

    def _digests(self) -> list[tuple[str, str]]:
        return [(name, md5) for _, name, md5 in self._files()]

    def _expected(self) -> list[str]:
        return [name for _, name, _ in self._files()]

    def _origins(self) -> str:
        return "\n".join(f"  {url} (MD5 {md5})" for url, _, md5 in self._files())

    def _fetch(self) -> None:
        for part in ("train", "test"):
            tv.SVHN(self.root, split=part, download=True)

    def _read(self) -> tuple[Part, Part, Sequence[str], Sequence[str]]:
        for name, md5 in self._digests():
            self._check(self.root / name, md5)
        train, test = (tv.SVHN(self.root, split=part) for part in ("train", "test"))
        images = train.data.transpose(0, 2, 3, 1), test.data.transpose(0, 2, 3, 1)
        return (images[0], train.labels), (images[1], test.labels), [str(digit) for digit in range(10)], ()


def _read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read an idx file of unsigned bytes (packed or not), whose shape is known."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    if raw[:4] != header[:4]:
        raise DataError(
            f"{path} is no idx file of {len(shape)}-d bytes: it begins {raw[:4].hex()}, not {header[:4].hex()}"
        )
    found = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, len(header), 4))
    if found != shape:
        raise DataError(f"{path} holds an array of shape {found}, expected {shape}")
    if len(raw) != len(header) + np.prod(shape):
        raise DataError(f"{path} holds {len(raw)} bytes, its header announces {len(header) + np.prod(shape)}")
    return np.frombuffer(raw, np.uint8, offset=len(header)).reshape(shape).copy()
