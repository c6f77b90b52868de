"""Test images beside what each arm made of them: the same for every arm, in the record, the report and on the page."""

import base64
import json
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from poolbench.cli import main
from poolbench.data.masks.digit_scenes import DigitScenes
from poolbench.record import PICTURES_FILE
from poolbench.report.figures.pictures import _colours, _grey
from poolbench.report.make import gather, make_report
from poolbench.report.page import html
from poolbench.report.reading.loading import load
from poolbench.report.reading.pictures import pictures_of
from poolbench.training.kept_pictures import PICTURES

SCENES = ["dataset=digit_scenes", "dataset.train_scenes=24", "dataset.test_scenes=13"]
SHORT = ["trainer=cpu", "threads=1", "allocator=system", "protocol.epochs=1", "protocol.batch_size=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results folder of two arms of a small U-net, two seeds each."""
    results = tmp_path_factory.mktemp("results")
    asked = ["backbone=unet", "backbone.width=2", "backbone.levels=1", "pooling=max,avg", "seed=0,1", "name=scenes"]
    assert main(["train", *SCENES, *SHORT, *asked, "speed.measure=false", f"results_dir={results}"]) == 0
    return results / "scenes"


def records(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("records/*/record.json"))]


@pytest.mark.slow
def test_every_cell_keeps_the_same_images_with_their_truth(folder: Path) -> None:
    scenes = DigitScenes(train_scenes=24, test_scenes=13).scenes("test")
    for record in records(folder):
        with np.load(folder / "records" / record["run_id"] / PICTURES_FILE) as kept:
            rows = kept["row"]
            assert rows.tolist() == [0, 2, 5, 7, 10, 12]
            assert len(rows) == PICTURES
            assert np.array_equal(kept["example"], scenes.images[rows])
            assert np.array_equal(kept["target"], scenes.masks[rows])
            assert kept["given"].dtype == np.uint8
            assert kept["given"].shape == kept["target"].shape


@pytest.mark.slow
def test_what_is_shown_is_what_the_score_was_reckoned_of(folder: Path) -> None:
    from poolbench.tasks import Segmentation

    for record in records(folder):
        place = folder / "records" / record["run_id"]
        with np.load(place / PICTURES_FILE) as kept, np.load(place / "outcomes.npz") as outcomes:
            given = torch.nn.functional.one_hot(torch.from_numpy(kept["given"]).long(), 11).movedim(-1, 1)
            scores = Segmentation().scores(given.float(), torch.from_numpy(kept["target"]))
            assert scores.numpy() == pytest.approx(outcomes["score"][kept["row"]])


def test_the_report_draws_them_and_the_page_holds_the_figure(folder: Path) -> None:
    written = {path.name for path in make_report(folder).files}
    assert {"pictures.png", "pictures.svg"} <= written
    page = (folder / "report.html").read_text()
    (shown,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(shown) == (folder / "pictures.png").read_bytes()
    assert "pictures.svg" in (folder / "summary.md").read_text()


def test_without_pictures_there_is_no_section(folder: Path) -> None:
    content = gather(load(folder))
    assert 'id="pictures"' not in html(content).decode()


def test_pictures_that_are_not_what_was_written_are_not_shown(folder: Path, tmp_path: Path) -> None:
    content = gather(load(folder))
    (arm, *_) = content.blocks[0].arms
    before = pictures_of(folder, arm)
    assert before is not None
    assert before.seed == 0
    path = folder / "records" / str(arm.finished[0]["run_id"]) / PICTURES_FILE
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b" ")
        after = pictures_of(folder, arm)
        assert after is not None
        assert after.seed == 1
        assert any(PICTURES_FILE in name for name in load(folder).damaged)
        # Damaged before its digest was taken.
        arm.finished[0]["files"][PICTURES_FILE] = sha256(kept[:-40]).hexdigest()
        path.write_bytes(kept[:-40])
        after = pictures_of(folder, arm)
        assert after is not None
        assert after.seed == 1
    finally:
        path.write_bytes(kept)


def test_classes_have_colours_of_their_own_and_what_does_not_count_is_white() -> None:
    shown = _colours(np.array([[*range(11), 255]], np.uint8), 11)[0]
    assert len({tuple(colour) for colour in shown.tolist()}) == 12
    assert shown[-1].tolist() == [255, 255, 255]
    assert _grey(np.full((1, 2, 2), 7, np.uint8)).tolist() == np.zeros((2, 2, 3)).tolist()
