"""Frames of a line: the camera's geometry by hand, and that what is seen tells where to steer."""

import numpy as np
import pytest
import torch

from poolbench.data import open_dataset
from poolbench.data.line.camera import Camera
from poolbench.data.line.frames import BEND, FULL_LOCK, HEADING, LOOK_AHEAD, OFFSET, render
from poolbench.data.line.line import EDGES, Line
from poolbench.errors import ConfigurationError, DataError
from poolbench.tasks import Regression


def test_the_middle_of_the_frame_looks_where_the_tilt_says():
    ahead, right = Camera(101, tilt=0.7, angle=0.9).floor
    assert ahead[50, 50] == pytest.approx(1 / np.tan(0.7))  # the camera's height over the tangent of its tilt
    assert right[50, 50] == pytest.approx(0, abs=1e-12)
    # A pixel to the right of the middle: the ray is tan(angle/2) at the edge, as long as the middle ray is far.
    distance = 1 / np.sin(0.7)
    assert right[50, 100] == pytest.approx(distance * np.tan(0.45) * 100 / 101)


def test_rows_that_are_further_down_are_nearer_and_narrower():
    ahead, right = Camera(32, tilt=0.75, angle=0.95).floor
    assert (np.diff(ahead[:, 0]) < 0).all()
    assert (np.diff(right, axis=1) > 0).all()
    assert (np.diff(right[:, -1] - right[:, 0]) < 0).all()


def test_steering_is_where_the_line_lies_ahead_within_bounds():
    frames = render(500, 16, torch.Generator().manual_seed(0))
    most = (OFFSET + HEADING * LOOK_AHEAD + BEND * LOOK_AHEAD**2 / 2) / FULL_LOCK
    assert most == pytest.approx(1)
    assert (np.abs(frames.steering) <= 1).all()
    assert abs(frames.steering.mean()) < 0.05
    assert frames.steering.std() > 0.25
    assert np.allclose(frames.steering[:, 0], frames.places)


def test_the_line_is_seen_where_it_is_steered_for():
    """A column of light at the distance that is steered for follows the steering."""
    frames = render(400, 32, torch.Generator().manual_seed(1))
    ahead, right = Camera(32, 0.75, 0.95).floor
    row = int(np.abs(ahead[:, 0] - LOOK_AHEAD).argmin())
    band = frames.images[:, 0, row - 1 : row + 2].astype(float).mean(1)
    odd = np.abs(band - np.median(band, axis=1, keepdims=True))
    seen = right[row][odd.argmax(1)] / FULL_LOCK
    inside = np.abs(frames.places) < 0.5
    assert np.corrcoef(seen[inside], frames.places[inside])[0, 1] > 0.7


def test_strata_are_where_the_line_lies():
    dataset = Line(train_frames=10, test_frames=200)
    loaded = dataset.load()
    assert loaded.test_strata is not None
    places = dataset.frames("test").places
    of = loaded.test_strata.of.numpy()
    assert (of == np.searchsorted(EDGES, places, side="right")).all()
    assert (np.diff([places[of == stratum].mean() for stratum in range(5)]) > 0).all()


@pytest.mark.parametrize("bad", [float("nan"), 1.5, -2.0, float("inf")])
def test_a_target_that_is_no_number_or_out_of_range_is_named_before_training(bad, monkeypatch):
    import poolbench.data.line.line as module

    def faulty(count, size, generator):
        frames = render(count, size, generator)
        frames.steering[3] = bad
        return frames

    monkeypatch.setattr(module, "render", faulty)
    spec = {"_target_": "poolbench.data.line.line.Line", "train_frames": 20, "test_frames": 10, "val_fraction": 0.1}
    spec |= {"task": {"_target_": "poolbench.tasks.Regression", "least": -1, "most": 1}}
    with pytest.raises(DataError, match=r"train example 3 \(counted from 0\) has the target .* in -1\.\.1"):
        open_dataset(spec).load()


@pytest.mark.parametrize("size", [8, [32, 16], [32]])
def test_frames_that_are_too_small_or_not_square_are_refused(size):
    with pytest.raises(ConfigurationError, match="must be a whole number of at least 16"):
        Line(image_size=size)


def test_it_is_a_regression_of_one_number():
    dataset = open_dataset({"_target_": "poolbench.data.line.line.Line", "val_fraction": 0.1})
    assert isinstance(dataset.task, Regression)
    assert (dataset.num_classes, dataset.task.score.better) == (1, "lower")
