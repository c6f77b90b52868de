"""Photographs are turned upright by their EXIF orientation, and folders without such images stay what they were."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from poolbench.data.image_folder import ImageFolder
from poolbench.data.orientation import orientation_of, turned_files, upright

SIZE = 8


def picture(seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((18, 12), Image.Resampling.NEAREST)


def save(path: Path, orientation: int | None, seed: int = 0) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, exif=exif)


def tree(root: Path, orientation: int | None, form: str = "png") -> Path:
    for part in ("train", "test"):
        for seed, name in enumerate(("cat", "dog")):
            save(root / part / name / f"a.{form}", None, seed)
            save(root / part / name / f"b.{form}", orientation if name == "dog" else None, seed)
    return root


@pytest.fixture(autouse=True)
def own_user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.mark.parametrize("form", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int, form: str) -> None:
    path = tmp_path / f"image.{form}"
    save(path, orientation)
    with Image.open(path) as image:
        assert orientation_of(image) == orientation
        np.testing.assert_array_equal(np.asarray(upright(image)), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", [0, 9, 255, None])
def test_an_orientation_that_is_none_leaves_the_image(tmp_path: Path, orientation: int | None) -> None:
    save(tmp_path / "image.jpg", orientation)
    with Image.open(tmp_path / "image.jpg") as image:
        assert orientation_of(image) == 1
        assert upright(image) is image


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_a_folder_is_read_upright_and_says_so(tmp_path: Path, form: str) -> None:
    turned = ImageFolder(root=tree(tmp_path / "turned", 6, form), image_size=SIZE)
    plain = ImageFolder(root=tree(tmp_path / "plain", None, form), image_size=SIZE)
    images, before = turned.load(), plain.load()
    assert "train: 1 of 4 images were turned upright by their EXIF orientation" in images.notes
    assert "test: 1 of 4 images were turned upright by their EXIF orientation" in images.notes
    assert not any("EXIF" in note for note in before.notes)
    seen, unturned = (loaded.train.gather(loaded.train.labels.new_tensor([3]))[0] for loaded in (images, before))
    # The middle of the picture turned by a quarter: what the sensor saw, turned.
    assert not (seen == unturned).all()
    with Image.open(tmp_path / "turned" / "train" / "dog" / f"b.{form}") as image:
        fitted = ImageOps.exif_transpose(image).resize((8, 12), Image.Resampling.BILINEAR).crop((0, 2, 8, 10))
    np.testing.assert_array_equal(seen.permute(1, 2, 0).numpy(), np.asarray(fitted))
    again = ImageFolder(root=tmp_path / "turned", image_size=SIZE).load()
    assert again.digest == images.digest
    assert any("EXIF" in note for note in again.notes)
    streamed = ImageFolder(root=tmp_path / "turned", image_size=SIZE, streaming=True, workers=0).load()
    assert streamed.digest == images.digest


def test_only_a_folder_that_holds_such_images_changes_its_identity(tmp_path: Path) -> None:
    plain = tree(tmp_path / "plain", None)
    files = sorted((path.relative_to(plain).as_posix(), path.stat().st_size) for path in plain.glob("*/*/*"))
    expected = hashlib.sha256("".join(f"{path}\0{size}\n" for path, size in files).encode()).hexdigest()
    assert ImageFolder(root=plain, image_size=SIZE).fingerprint() == expected
    upright_too = tree(tmp_path / "upright", 1)
    assert ImageFolder(root=upright_too, image_size=SIZE).turned == {}
    prints = [
        ImageFolder(root=tree(tmp_path / str(orientation), orientation), image_size=SIZE).fingerprint()
        for orientation in (1, 3, 6)
    ]
    assert len(set(prints)) == 3  # files of equal sizes, turned in different ways


def test_a_cache_from_before_is_not_taken_for_upright_images(tmp_path: Path) -> None:
    root = tree(tmp_path / "turned", 6)
    folder = ImageFolder(root=root, image_size=SIZE)
    folder.load()
    names = {path.name for path in (root / ".poolbench-cache").iterdir()}
    assert names == {"orientations", "images-3x8x8-upright"}
    plain = tree(tmp_path / "plain", None)
    ImageFolder(root=plain, image_size=SIZE).load()
    assert {path.name for path in (plain / ".poolbench-cache").iterdir()} == {"orientations", "images-3x8x8"}


def test_headers_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "turned", 8, "jpg")
    files = ImageFolder(root=root, image_size=SIZE).listing.files
    found = turned_files(root, files)
    assert found == {"train/dog/b.jpg": 8, "test/dog/b.jpg": 8}
    monkeypatch.setattr("poolbench.data.orientation._in_header", lambda path: pytest.fail(f"{path} read again"))
    assert turned_files(root, files) == found


def test_a_broken_file_is_named_in_loading_and_not_here(tmp_path: Path) -> None:
    root = tree(tmp_path / "broken", None, "jpg")
    (root / "train" / "cat" / "c.jpg").write_bytes(b"\xff\xd8 no picture")
    (root / "train" / "cat" / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x04eXIf")
    assert ImageFolder(root=root, image_size=SIZE).turned == {}
