import numpy as np
import pytest
import torch
from data.sounds.test_wav_files import write

from poolbench.data import open_dataset
from poolbench.data.sounds import sound_folder
from poolbench.data.sounds.log_mel import LogMel
from poolbench.data.sounds.sound_folder import SoundFolder
from poolbench.data.sounds.speakers import groups_of, held_out
from poolbench.data.sounds.tones import Tones
from poolbench.errors import ConfigurationError, DataError

GROUP = "_([a-z]+)_"


@pytest.fixture(autouse=True)
def own_user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def tree(tmp_path):
    """Tones of 0.1 s: two classes, two speakers, two takes in training and one in the test."""
    time = np.arange(800) / 8000
    for part, takes in (("train", (1, 2)), ("test", (0,))):
        for name, hz in (("high", 1000), ("low", 300)):
            folder = tmp_path / "tree" / part / name
            folder.mkdir(parents=True)
            for speaker, loud in (("anna", 0.5), ("bert", 0.25)):
                for take in takes:
                    write(folder / f"x_{speaker}_{take}.wav", loud * np.sin(2 * np.pi * (hz + 20 * take) * time))
    return tmp_path / "tree"


def folder(root, **arguments):
    return SoundFolder(root=root, **{"length_s": 0.1, **arguments})


def levels(source):
    return source.images[..., 0]


def test_a_spectrogram_is_that_of_its_wave(tree):
    dataset = folder(tree)
    images = dataset.load()
    assert (images.train.shape, images.class_names) == ((1, *dataset.image_size), ("high", "low"))
    assert images.train.labels.tolist() == [0] * 4 + [1] * 4
    # anna's first take of the class `high`, of 1020 Hz, as samples of 16 bits
    wave = np.round(0.5 * np.sin(2 * np.pi * 1020 * np.arange(800) / 8000) * 2**15) / 2**15
    own = LogMel(8000)(torch.from_numpy(wave.astype(np.float32))[None])[0]
    assert (levels(images.train)[0].int() - own.int()).abs().max() <= 1
    assert images.test_groups is None


def test_a_second_load_computes_nothing(tree, monkeypatch):
    first = folder(tree).load()

    def never(path):
        raise AssertionError(path)

    monkeypatch.setattr(sound_folder, "read_wav", never)
    again = folder(tree, group=GROUP).load()
    assert torch.equal(first.train.images, again.train.images)
    assert first.digest == again.digest
    assert "as computed before" in again.notes


@pytest.mark.parametrize(
    "arguments",
    [
        *({"rate_hz": 4000}, {"length_s": 0.05}, {"bands": 20}, {"fft": 512, "bands": 40}, {"hop": 64}),
        {"range_db": 40.0},
    ],
)
def test_every_argument_makes_other_spectrograms(tree, arguments):
    first, other = folder(tree).load(), folder(tree, **arguments).load()
    assert "as computed before" not in other.notes
    assert first.digest != other.digest


def test_speakers_are_groups_and_strata(tree):
    images = folder(tree, group=GROUP).load()
    assert images.test_groups.tolist() == [0, 1, 0, 1]
    assert images.test_strata.names == ("anna", "bert")
    assert images.test_strata.of.tolist() == [0, 1, 0, 1]


def test_a_speaker_left_out_is_the_test_of_both_parts(tree):
    together, alone = folder(tree, group=GROUP), folder(tree, group=GROUP, leave_out="bert")
    images = alone.load()
    assert (len(images.train), len(images.test)) == (6, 6)
    assert images.test.labels.bincount().tolist() == [3, 3]
    everything = torch.cat([levels(together.load().train), levels(together.load().test)])
    of_bert = torch.from_numpy(together.groups.numbers == 1)
    assert torch.equal(levels(images.test), everything[of_bert])
    assert torch.equal(levels(images.train), everything[~of_bert])
    # One group cannot tell how groups vary.
    assert images.test_groups is None
    assert any("all test examples are of one group" in note for note in images.notes)
    assert alone.fingerprint() != together.fingerprint()


def test_what_was_done_to_files_is_said(tree):
    write(tree / "train" / "low" / "x_anna_9.wav", np.zeros((3200, 2)), rate=16000)
    write(tree / "train" / "low" / "x_bert_9.wav", np.zeros(10))
    notes = folder(tree).load().notes
    assert "1 of 14 sounds had another sample rate than 8000 Hz and were resampled" in notes
    assert "1 of 14 sounds had several channels, which were averaged" in notes
    assert "1 of 14 sounds were longer than 0.1 s: their middle was kept" in notes
    assert "1 of 14 sounds were shorter than 0.1 s and got silence at both ends" in notes


def test_unreadable_files_are_named_all_at_once(tree):
    broken = tree / "train" / "low" / "x_anna_1.wav"
    broken.write_bytes(broken.read_bytes()[:-101])
    (tree / "test" / "high" / "x_bert_0.wav").write_bytes(b"no sound")
    with pytest.raises(
        DataError, match=r"(?s)2 of 12 sounds cannot be read; .*test/high/x_bert_0.wav: .*truncated: it"
    ):
        folder(tree).load()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"root": None}, DataError, "must name the folder"),
        ({"device": "gpu"}, ConfigurationError, r"`dataset.device` must be one of cpu, cuda, got 'gpu'"),
        ({"length_s": 0}, ConfigurationError, "`dataset.length_s` must be a number above 0"),
        ({"group": "(", "leave_out": None}, ConfigurationError, r"must be null or a regular expression, got '\('"),
        ({"group": "anna"}, ConfigurationError, "must have one group in parentheses"),
        ({"group": "(carl)"}, DataError, r"'\(carl\)' is not found in train/high/x_anna_1.wav"),
        ({"leave_out": "bert"}, ConfigurationError, "needs `dataset.group`"),
        ({"group": GROUP, "leave_out": "carl"}, ConfigurationError, "must be of anna, bert, got 'carl'"),
        ({"group": GROUP, "leave_out": ["anna", "bert"]}, ConfigurationError, "must leave a group to train on"),
    ],
)
def test_what_cannot_be_is_named_before_anything_is_computed(tree, arguments, error, said):
    with pytest.raises(error, match=said):
        folder(**{"root": tree, **arguments})


def test_a_folder_of_other_files_is_refused(tree):
    (tree / "train" / "low" / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"holds what is no wav file: notes.txt"):
        folder(tree)


def test_spectrograms_that_do_not_fit_are_refused(tree):
    with pytest.raises(DataError, match=r"the spectrograms of 12 sounds take .* the limit is 0 MiB; raise"):
        folder(tree, memory_limit_mib=0).load()


def test_groups_are_found_in_names_and_not_in_folders():
    found = groups_of(["a_x_/1_anna_.wav", "a_x_/2_bert_.wav"], GROUP)
    assert found.names == ("anna", "bert")
    assert held_out(found, ["anna"]).tolist() == [True, False]


def test_tones_are_equal_on_every_machine_but_for_rounding():
    images = Tones(train_clips=18, test_clips=9).load()
    assert images.train.shape == (1, 40, 33)
    means = [float(levels(part).double().mean()) for part in (images.train, images.test)]
    assert means == pytest.approx([208.891, 211.301], abs=0.05)
    assert Tones().fingerprint() != Tones(train_clips=18).fingerprint() != Tones(test_clips=18).fingerprint()
    spec = {"_target_": "poolbench.data.sounds.tones.Tones", "val_fraction": 0.1}
    assert open_dataset(spec).step_ms == 32
