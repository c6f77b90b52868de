import numpy as np
import pytest
import torch

from poolbench.data import open_dataset
from poolbench.data.series.ecg_beats import EcgBeats
from poolbench.data.series.ucr import Ucr
from poolbench.errors import ConfigurationError, DataError

ECG = {"_target_": "poolbench.data.series.ecg_beats.EcgBeats", "val_fraction": 0.1}


def test_patients_of_the_test_are_groups_of_their_own():
    images = EcgBeats(train_recordings=3, test_recordings=4, beats=20).load()
    assert (len(images.train), len(images.test), images.train.shape) == (60, 80, (1, 320))
    assert images.test_groups.bincount().tolist() == [20] * 4
    assert images.train.images.dtype == torch.float32
    # The means of millivolts, not fractions of 255.
    assert abs(images.mean[0] - float(images.train.images.mean())) < 1e-5
    assert not np.isin(images.train.images.numpy().reshape(60, -1)[:, 0], images.test.images.numpy()[:, 0, 0]).any()


def test_ecg_beats_arguments_act_or_are_refused():
    small = {"train_recordings": 2, "test_recordings": 2, "beats": 10}
    prints = {EcgBeats(**small).fingerprint()} | {
        EcgBeats(**{**small, key: 11}).fingerprint() for key in ("train_recordings", "test_recordings", "beats")
    }
    assert len(prints) == 4
    with pytest.raises(ConfigurationError, match=r"`dataset.beats` must be a whole number of at least 10"):
        EcgBeats(beats=3)
    with pytest.raises(ConfigurationError, match=r"`dataset.test_recordings` must be a whole number of at least 2"):
        EcgBeats(test_recordings=1)


def test_milliseconds_are_the_datasets_or_the_yamls():
    assert open_dataset(ECG).step_ms == 7.8125
    assert open_dataset({**ECG, "step_ms": 4}).step_ms == 4
    with pytest.raises(ConfigurationError, match=r"`dataset.step_ms` must be a number above 0, got 0"):
        open_dataset({**ECG, "step_ms": 0})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Own_TRAIN.tsv").write_text("2\t1\t2\t3\n10\t4\t5\t6\n")
    (tmp_path / "Own_TEST.tsv").write_text("10\t7\tNaN\t9\n")
    return tmp_path


def test_a_pair_of_files_is_a_dataset(folder):
    with pytest.raises(DataError, match=r"Own_TEST.tsv: 1 values are missing, in line 1"):
        Ucr(root=folder)
    dataset = Ucr(root=folder, missing="interpolate")
    images = dataset.load()
    assert (dataset.channels, dataset.image_size, images.class_names) == (1, (3,), ("2", "10"))
    assert images.train.labels.tolist() == [0, 1]
    assert images.test.images[0, :, 0].tolist() == [7, 8, 9]
    assert "test: 1 missing values interpolated" in images.notes
    (folder / "Own_TEST.tsv").write_text("10\t7\t8\t9\n")
    assert Ucr(root=folder).fingerprint() != dataset.fingerprint()


def test_what_cannot_be_is_named(folder):
    with pytest.raises(DataError, match="must name the folder"):
        Ucr(root=None)
    with pytest.raises(ConfigurationError, match=r"`dataset.missing` must be one of error, interpolate, got 'zero'"):
        Ucr(root=folder, missing="zero")
    with pytest.raises(DataError, match="must hold Other_TRAIN and Other_TEST; it has Own"):
        Ucr(root=folder, series="Other")
    (folder / "Own_TEST.tsv").write_text("10\t7\t8\n")
    with pytest.raises(DataError, match=r"series of .*Own_TEST.tsv have \(1, 2\) channels and values, those of"):
        Ucr(root=folder)
