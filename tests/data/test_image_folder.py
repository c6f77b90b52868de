import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from poolbench.data import Datasets, HeldImages
from poolbench.data.fit_size import fit_size
from poolbench.data.image_folder import ImageFolder
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import user_cache

CLASSES = ("cat", "dog")


def picture(seed: int, height: int = 12, width: int = 12, mode: str = "RGB") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of png files of unequal sizes and modes; each class has 4 images in train, 2 in test."""
    sizes = [(12, 12, "RGB"), (9, 20, "RGB"), (30, 14, "L"), (12, 12, "RGBA")]
    for part, count in (("train", 4), ("test", 2)):
        for number, name in enumerate(CLASSES):
            folder = tmp_path / "tree" / part / name
            folder.mkdir(parents=True)
            for index, (height, width, mode) in enumerate(sizes[:count]):
                picture(10 * number + index, height, width, mode).save(folder / f"{index}.png")
    return tmp_path / "tree"


@pytest.fixture(autouse=True)
def own_user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def folder(root: Path, **arguments) -> ImageFolder:
    return ImageFolder(root=root, **({"image_size": 12} | arguments))


def levels(source) -> np.ndarray:
    assert isinstance(source, HeldImages)
    return source.images.numpy()


def test_classes_are_counted_and_images_come_sorted(tree):
    dataset = folder(tree)
    images = dataset.load()
    assert dataset.num_classes == 2
    assert images.class_names == CLASSES
    assert images.train.labels.tolist() == [0] * 4 + [1] * 4
    assert images.test.labels.tolist() == [0, 0, 1, 1]
    assert images.train.shape == (3, 12, 12)
    np.testing.assert_array_equal(levels(images.train)[0], np.asarray(picture(0)))


def test_unequal_sizes_are_fitted_by_the_stated_rule(tree):
    images = folder(tree).load()
    wide = picture(1, 9, 20).resize((27, 12), Image.Resampling.BILINEAR).crop((7, 0, 19, 12))
    np.testing.assert_array_equal(levels(images.train)[1], np.asarray(wide))
    assert "train: 4 of 8 images were of another size than 12×12 and fitted to it" in images.notes
    assert "test: 2 of 4 images were of another size than 12×12 and fitted to it" in images.notes


def test_grey_becomes_colour_and_colour_grey(tree):
    colour = levels(folder(tree).load().train)
    assert (colour[2] == colour[2][..., :1]).all()
    grey = levels(folder(tree, channels=1).load().train)
    assert grey.shape == (8, 12, 12, 1)
    np.testing.assert_array_equal(grey[0, ..., 0], np.asarray(picture(0).convert("L")))


def test_sixteen_bits_keep_their_upper_byte_and_palettes_their_colours(tree):
    deep = (np.arange(144, dtype=np.uint16) * 400).reshape(12, 12)
    Image.fromarray(deep).save(tree / "train" / "cat" / "0.png")
    flat = picture(5).quantize(8)
    flat.info["transparency"] = b"\x00\x80"
    flat.save(tree / "train" / "cat" / "3.png")
    images = levels(folder(tree).load().train)
    np.testing.assert_array_equal(images[0, ..., 0], deep >> 8)
    np.testing.assert_array_equal(images[3], np.asarray(picture(5).quantize(8).convert("RGB")))


@pytest.mark.parametrize("shape", [(12, 12, 3), (9, 20, 3), (31, 14, 1), (1, 40, 1), (13, 12, 3)])
@pytest.mark.parametrize("size", [1, 12, 33])
def test_fitting_gives_squares_of_the_size(shape, size):
    image = np.full(shape, 200, np.uint8)
    fitted = fit_size(image, size)
    assert fitted.shape == (size, size, shape[2])
    assert (fitted == 200).all()


def test_jpeg_files_are_read_as_pillow_does(tree):
    path = tree / "train" / "cat" / "9.JPG"
    picture(7).save(path, format="JPEG")
    with Image.open(path) as opened:
        np.testing.assert_array_equal(levels(folder(tree).load().train)[4], np.asarray(opened))


def test_hidden_files_are_ignored(tree):
    fingerprint = folder(tree).fingerprint()
    (tree / "train" / "cat" / ".notes").write_text("hidden")
    (tree / "train" / ".thumbnails").mkdir()
    assert folder(tree).fingerprint() == fingerprint
    assert folder(tree).load().class_names == CLASSES


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_stream_gives_the_same_images_and_facts(tree):
    held = folder(tree).load()
    order = [torch.tensor([5, 0, 7]), torch.tensor([2])]
    for workers in (0, 2):
        streamed = folder(tree, streaming=True, workers=workers).load()
        assert streamed.streaming
        assert (streamed.digest, streamed.mean, streamed.std) == (held.digest, held.mean, held.std)
        for indices, batch in zip(order, streamed.train.batches(order), strict=True):
            assert torch.equal(batch, held.train.gather(indices))
    assert any("streams through 2 workers" in note for note in streamed.notes)


def test_what_exceeds_the_limit_streams(tree):
    assert folder(tree, memory_limit_mib=0).load().streaming
    assert not folder(tree, memory_limit_mib=1).load().streaming
    assert not folder(tree, memory_limit_mib=0, streaming=False).load().streaming
    # The first call left facts of a stream, the last one images: both are known, and the limit still decides.
    again = folder(tree, memory_limit_mib=0).load()
    assert again.streaming
    assert "limit 0 MiB" in " ".join(again.notes)


# --- the cache ---


def decoded_files(tree: Path) -> Path:
    return tree / ".poolbench-cache" / "images-3x12x12"


def test_images_are_decoded_once_and_then_mapped(tree):
    first = folder(tree).load()
    assert any("kept on disk in" in note for note in first.notes)
    before = {path.name: path.stat().st_mtime_ns for path in decoded_files(tree).glob("*.npy")}
    second = folder(tree).load()
    assert "as decoded before" in second.notes
    assert second.digest == first.digest
    assert "train: 4 of 8 images were of another size than 12×12 and fitted to it" in second.notes
    assert before == {path.name: path.stat().st_mtime_ns for path in decoded_files(tree).glob("*.npy")}
    assert len(before) == 4
    assert not list(decoded_files(tree).glob("*.part"))


def test_writing_into_mapped_images_does_not_reach_the_disk(tree):
    folder(tree).load()
    levels(folder(tree).load().train)[:] = 0
    assert levels(folder(tree).load().train).any()


def test_a_changed_file_is_decoded_anew(tree):
    folder(tree).load()
    path = tree / "train" / "cat" / "0.png"
    old = path.stat()
    picture(99).save(path)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + 1_000_000_000))
    images = folder(tree).load()
    assert "as decoded before" not in images.notes
    np.testing.assert_array_equal(levels(images.train)[0], np.asarray(picture(99)))


def test_an_added_file_changes_the_fingerprint_within_the_process(tree):
    first = folder(tree)
    path = tree / "train" / "cat" / "8.png"
    picture(8).save(path)
    os.utime(path.parent, ns=(0, 0))  # a coarse clock may give the folder the same time
    second = ImageFolder(root=tree, image_size=12)
    assert second.fingerprint() != first.fingerprint()
    assert len(second.load().train) == 9


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", ["train.npy", "test.npy", "train_labels.npy", "facts.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "other", "absent"])
def test_a_damaged_cache_is_rebuilt(tree, name, damage):
    digest = folder(tree).load().digest
    path = decoded_files(tree) / name
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        changed = {"truncated": content[: len(content) // 2], "empty": b"", "other": content[:-2] + b"zz"}[damage]
        path.write_bytes(changed)
    images = folder(tree).load()
    assert "as decoded before" not in images.notes
    assert images.digest == digest
    assert "as decoded before" in folder(tree).load().notes
    assert path.read_bytes()[-2:] == content[-2:]


def test_a_pickle_in_the_cache_is_not_opened(tree):
    folder(tree).load()
    np.save(decoded_files(tree) / "train.npy", np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    assert "as decoded before" not in folder(tree).load().notes


def without_cache_beside(tree: Path) -> None:
    # A file in the cache's place stands for a folder that cannot be written, which holds for root too.
    (tree / ".poolbench-cache").write_text("")


def test_where_the_root_cannot_be_written_the_users_cache_is_taken(tree, tmp_path):
    without_cache_beside(tree)
    images = folder(tree).load()
    assert any(str(tmp_path / "xdg") in note for note in images.notes)
    assert "as decoded before" in folder(tree).load().notes


def test_where_nothing_can_be_written_images_are_held_and_it_is_said(tree, tmp_path):
    without_cache_beside(tree)
    (tmp_path / "xdg").write_text("")
    for _ in range(2):
        images = folder(tree).load()
        assert any(note.startswith("not kept on disk: neither") for note in images.notes)
        assert len(images.train) == 8


@pytest.mark.slow
def test_two_processes_decode_once(tree):
    program = (
        "import json, sys, time\n"
        "from poolbench.data import image_folder\n"
        "read = image_folder.FileReader.read\n"
        "count = []\n"
        "def slow(self, index):\n"
        "    count.append(index)\n"
        "    time.sleep(0.1)\n"
        "    return read(self, index)\n"
        "image_folder.FileReader.read = slow\n"
        "dataset = image_folder.ImageFolder(root=sys.argv[1], image_size=12)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "images = dataset.load()\n"
        "print(json.dumps([len(count), images.digest]))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tree)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(count for count, _ in results) == [0, 12]
    assert results[0][1] == results[1][1]


# --- bad input ---


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DataError, match=r"/nowhere is no folder; it must hold train/CLASS"):
        folder(tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_missing_or_empty_part_is_named(tree, part):
    moved = tree / "moved"
    (tree / part).rename(moved)
    with pytest.raises(DataError, match=rf"tree/{part} is missing"):
        folder(tree)
    (tree / part).mkdir()
    with pytest.raises(DataError, match=rf"tree/{part} is empty"):
        folder(tree)


def test_an_empty_class_is_named(tree):
    for path in (tree / "test" / "dog").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"tree/test/dog has no images"):
        folder(tree)


def test_one_class_is_named(tree):
    for part in ("train", "test"):
        (tree / part / "dog").rename(tree / f"dog of {part}")
    with pytest.raises(DataError, match=r"tree/train has one class, cat"):
        folder(tree)


def test_classes_that_differ_are_listed(tree):
    (tree / "test" / "dog").rename(tree / "test" / "bird")
    with pytest.raises(DataError, match=r"tree/train and .*tree/test differ; only in train: dog; only in test: bird"):
        folder(tree)


def test_loose_images_and_strange_files_are_named(tree):
    (tree / "train" / "cat" / "labels.txt").write_text("")
    with pytest.raises(DataError, match=r"train/cat holds what is neither a jpeg nor a png file: labels\.txt"):
        folder(tree)
    picture(0).save(tree / "train" / "loose.png")
    with pytest.raises(DataError, match=r"tree/train holds images outside class folders: loose\.png"):
        folder(tree)


@pytest.mark.parametrize("streaming", [True, False])
def test_unreadable_images_are_counted_and_the_first_named(tree, streaming):
    for index in range(7):
        (tree / "train" / "cat" / f"broken{index}.png").write_bytes(b"no image")
    whole = (tree / "train" / "dog" / "1.png").read_bytes()
    (tree / "train" / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="8 of 15 images cannot be read") as caught:
        folder(tree, streaming=streaming).load()
    message = str(caught.value)
    assert str(tree / "train" / "cat" / "broken0.png") in message
    assert "broken5.png" not in message
    assert "and 3 more" in message


def test_a_file_that_breaks_while_it_streams_is_named(tree):
    images = folder(tree, streaming=True, workers=0).load()
    (tree / "train" / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train/cat/1\.png cannot be read"):
        list(images.train.batches([torch.tensor([0, 1])]))


def test_a_number_of_classes_that_differs_is_named(tree):
    assert folder(tree, num_classes=2).num_classes == 2
    with pytest.raises(ConfigurationError, match=r"num_classes` must be null \(counted\) or 2"):
        folder(tree, num_classes=3)


def test_it_opens_from_its_specification(tree):
    spec = {
        "_target_": "poolbench.data.image_folder.ImageFolder",
        "root": str(tree),
        "image_size": 12,
        "num_classes": None,
        "val_fraction": 0.25,
        "train_images": 6,
    }
    held = Datasets()
    dataset = held.open(spec)
    assert (dataset.name, dataset.num_classes) == ("image_folder", 2)
    assert len(dataset.load().train) == 6
    assert held.open(spec).load() is dataset.load()


def test_links_that_lead_nowhere_are_named(tree):
    (tree / "train" / "cat" / "gone.png").symlink_to(tree / "nowhere.png")
    with pytest.raises(DataError, match=r"cat holds links that lead nowhere: gone\.png; mend or remove them"):
        folder(tree)
    (tree / "train" / "cat" / "gone.png").unlink()
    (tree / "train" / "cow").symlink_to(tree / "nowhere", target_is_directory=True)
    with pytest.raises(DataError, match="train holds links that lead nowhere: cow"):
        folder(tree)


def test_links_that_lead_somewhere_are_followed(tree):
    (tree / "train" / "cat" / "linked.png").symlink_to(tree / "train" / "cat" / "0.png")
    images = levels(folder(tree).load().train)
    np.testing.assert_array_equal(images[0], images[4])


def test_a_name_that_is_not_utf8_is_told(tree):
    name = os.fsdecode(b"caf\xe9.png")
    picture(1).save(tree / "train" / "cat" / name, format="PNG")
    with pytest.raises(DataError, match=r"cat holds names that are not UTF-8: caf\\udce9\.png; rename them"):
        folder(tree)


def test_what_is_no_file_is_named_and_not_waited_for(tree):
    os.mkfifo(tree / "train" / "cat" / "pipe.png")
    with pytest.raises(DataError, match=r"neither a jpeg nor a png file: pipe\.png"):
        folder(tree)


@pytest.mark.parametrize("place", ["train/cat", "train", "test/dog"])
def test_a_folder_that_cannot_be_read_is_named(tree, monkeypatch, place):
    real = os.scandir

    def refusing(path):
        if str(path) == str(tree / place):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=rf"`dataset\.root`: {tree / place} cannot be read: Permission denied; change"):
        folder(tree)


def test_a_user_without_a_home_needs_no_cache(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda user: {}[user])
    assert user_cache() is None
    monkeypatch.setattr("poolbench.data.cache._writable", lambda folder: False)
    assert folder(tree).load().train.labels.tolist() == [0] * 4 + [1] * 4
