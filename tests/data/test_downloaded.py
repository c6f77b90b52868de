import gzip
import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets as tv
from scipy.io import savemat

from poolbench.data.downloaded import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST
from poolbench.errors import ConfigurationError, DataError

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def mnist_contents() -> dict[str, bytes]:
    """Files in MNIST's format and of its counts, black but for one pixel that tells the label."""
    contents = {}
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        labels = np.arange(count) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        images[np.arange(count), labels, 5] = 255
        contents[f"{part}-images-idx3-ubyte"] = idx(images)
        contents[f"{part}-labels-idx1-ubyte"] = idx(labels)
    return contents


@pytest.fixture
def mnist_root(tmp_path: Path, mnist_contents) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in mnist_contents.items():
        (raw / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    """Whatever asks for an address is told that there is no network."""

    def refuse(*_, **__):
        raise URLError("no network here")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def mnist(root: Path, **arguments) -> MNIST:
    return MNIST(**({"name": "mnist", "channels": 1, "image_size": 28, "num_classes": 10, "root": root} | arguments))


def cifar(root: Path, **arguments) -> CIFAR10:
    return CIFAR10(
        **({"name": "cifar10", "channels": 3, "image_size": 32, "num_classes": 10, "root": root} | arguments)
    )


def test_unpacked_mnist_is_read_and_kept(mnist_root):
    images = mnist(mnist_root).load()
    assert (len(images.train), len(images.test)) == (60_000, 10_000)
    assert images.train.shape == (1, 28, 28)
    assert images.class_names[3] == "3 - three"
    for source in (images.train, images.test):
        pixels = source.images[:10, :10, 5, 0]
        assert pixels.argmax(1).tolist() == source.labels[:10].tolist() == list(range(10))
    assert any(note.startswith("checked by format alone") for note in images.notes)
    again = mnist(mnist_root).load()
    assert "as decoded before" in again.notes
    assert again.digest == images.digest


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        (MNIST_FILES[0], lambda raw: b"\x00\x00\x08\x01" + raw[4:], "begins 00000801, not 00000803"),
        (MNIST_FILES[0], lambda raw: raw[:-1], r"its header announces 47040016"),
        (MNIST_FILES[1], lambda raw: raw[:8], r"holds 8 bytes, its header announces 60008"),
        (MNIST_FILES[2], lambda _: idx(np.zeros((10, 28, 28))), r"shape \(10, 28, 28\), expected \(10000, 28, 28\)"),
        (MNIST_FILES[3], lambda _: idx(np.full(10_000, 10)), r"labels up to 10; MNIST has 0\.\.9"),
        (MNIST_FILES[3], lambda _: b"", "begins , not 00000801"),
    ],
)
def test_files_of_another_format_are_refused(mnist_root, name, damage, said):
    path = mnist_root / "MNIST" / "raw" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=said) as caught:
        mnist(mnist_root).load()
    assert str(path) in str(caught.value)


def test_packed_files_of_another_digest_are_refused(tmp_path, mnist_contents):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in mnist_contents.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    with pytest.raises(
        DataError, match=r"images-idx3-ubyte\.gz is not the file of MNIST: .*f68b3c2dcbeaaa9fbdd348bbdeb94873"
    ):
        mnist(tmp_path).load()


def test_packed_files_of_the_published_digest_are_read(tmp_path, mnist_contents, monkeypatch):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    published = []
    for name in MNIST_FILES:
        packed = gzip.compress(mnist_contents[name], 1)
        (raw / f"{name}.gz").write_bytes(packed)
        published.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(tv.FashionMNIST, "resources", published)
    dataset = FashionMNIST(name="fashion_mnist", channels=1, image_size=28, num_classes=10, root=tmp_path)
    images = dataset.load()
    assert images.class_names[9] == "Ankle boot"
    assert images.train.labels[:3].tolist() == [0, 1, 2]
    assert not any("format alone" in note for note in images.notes)


@pytest.mark.parametrize(
    ("dataset", "channels", "classes", "file"),
    [
        (MNIST, 1, 10, "MNIST/raw/train-images-idx3-ubyte.gz"),
        (FashionMNIST, 1, 10, "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz"),
        (CIFAR10, 3, 10, "cifar-10-batches-py/data_batch_1"),
        (CIFAR100, 3, 100, "cifar-100-python/train"),
        (SVHN, 3, 10, "train_32x32.mat"),
    ],
)
def test_absent_files_are_named_with_what_to_do(tmp_path, no_network, dataset, channels, classes, file):
    root = tmp_path / "data"
    arguments = {"name": "x", "channels": channels, "image_size": 32, "num_classes": classes, "root": root}
    with pytest.raises(DataError) as caught:
        dataset(**arguments).load()
    for part in ("is not there", "dataset.download=true", "dataset.root", str(root), file, "http", "MD5"):
        assert part in str(caught.value)
    assert not root.exists()
    with pytest.raises(DataError, match=f"(?s){dataset.kind} could not be downloaded into .*no network here") as caught:
        dataset(**arguments, download=True).load()
    assert file in str(caught.value)


def test_a_root_that_cannot_be_made_is_named(tmp_path, no_network):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be downloaded into"):
        mnist(tmp_path / "file" / "data", download=True).load()


def cifar_files(root: Path, per_batch: int = 4) -> None:
    """Pickles as CIFAR-10's, of few images: image i is filled with level i."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [name for name, _ in [*tv.CIFAR10.train_list, *tv.CIFAR10.test_list]]
    for number, name in enumerate(names):
        first = number * per_batch
        levels = np.arange(first, first + per_batch, dtype=np.uint8)
        content = {"data": np.repeat(levels[:, None], 3072, axis=1), "labels": (levels % 10).tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {label}" for label in range(10)]}))


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_of_another_digest_is_refused_unopened(tmp_path):
    cifar_files(tmp_path)
    sprung = tmp_path / "sprung"
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(DataError, match=r"data_batch_1 is not the file of CIFAR10: its MD5 is .*c99cafc152244af753"):
        cifar(tmp_path).load()
    assert not sprung.exists()


def test_cifar_of_the_published_digests_is_read(tmp_path, monkeypatch):
    cifar_files(tmp_path)

    def published(name):
        return hashlib.md5((tmp_path / "cifar-10-batches-py" / name).read_bytes()).hexdigest()

    for attribute in ("train_list", "test_list"):
        listed = [[name, published(name)] for name, _ in getattr(tv.CIFAR10, attribute)]
        monkeypatch.setattr(tv.CIFAR10, attribute, listed)
    monkeypatch.setattr(tv.CIFAR10, "meta", tv.CIFAR10.meta | {"md5": published("batches.meta")})
    images = cifar(tmp_path).load()
    assert images.class_names[2] == "class 2"
    assert images.train.images[:, 0, 0, 0].tolist() == list(range(20))
    assert images.test.labels.tolist() == [0, 1, 2, 3]
    larger = cifar(tmp_path, image_size=40).load()
    assert larger.train.shape == (3, 40, 40)
    assert (larger.train.images == images.train.images[:, :1, :1]).all()
    assert "train: fitted from 32×32 to 40×40" in larger.notes


def test_svhn_of_the_published_digests_is_read(tmp_path, monkeypatch):
    listed = {}
    for part, count in (("train", 12), ("test", 5)):
        labels = np.arange(1, count + 1) % 10
        pixels = np.zeros((32, 32, 3, count), np.uint8)
        pixels[1, 2, 0] = np.arange(count)
        path = tmp_path / f"{part}_32x32.mat"
        savemat(path, {"X": pixels, "y": np.where(labels == 0, 10, labels)[:, None]})
        listed[part] = ["http://example.org", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(tv.SVHN, "split_list", listed)
    images = SVHN(name="svhn", channels=3, image_size=32, num_classes=10, root=tmp_path).load()
    assert images.train.images[:, 1, 2].tolist() == [[level, 0, 0] for level in range(12)]
    assert images.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    (tmp_path / "test_32x32.mat").write_bytes(b"another")
    with pytest.raises(DataError, match=r"test_32x32\.mat is not the file of SVHN"):
        SVHN(name="svhn", channels=3, image_size=32, num_classes=10, root=tmp_path).load()


def test_what_contradicts_the_data_set_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"dataset\.channels` must be 3 for CIFAR10, got 1"):
        cifar(tmp_path, channels=1)
    with pytest.raises(ConfigurationError, match=r"dataset\.num_classes` must be 10 for CIFAR10, got 100"):
        cifar(tmp_path, num_classes=100)
    with pytest.raises(ConfigurationError, match=r"dataset\.download` must be true or false, got 'yes'"):
        cifar(tmp_path, download="yes")


def test_fingerprints_differ_between_data_sets_and_need_no_files(tmp_path):
    nowhere = tmp_path / "nowhere"
    fashion = FashionMNIST(name="x", channels=1, image_size=28, num_classes=10, root=nowhere)
    fingerprints = {mnist(nowhere).fingerprint(), fashion.fingerprint(), cifar(nowhere).fingerprint()}
    assert len(fingerprints) == 3
