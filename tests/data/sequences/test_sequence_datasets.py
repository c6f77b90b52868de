import hashlib

import numpy as np
import pytest
import torch

from poolbench.data import open_dataset
from poolbench.data.sequences.alphabet import encode
from poolbench.data.sequences.dna_motif import DnaMotif
from poolbench.data.sequences.sequence_folder import SequenceFolder
from poolbench.errors import ConfigurationError, DataError


def letters(source) -> np.ndarray:
    """Levels with channels first."""
    return source.images.movedim(-1, 1).numpy()


def test_the_sequences_are_equal_on_every_machine():
    images = DnaMotif().load()
    digests = [hashlib.sha256(part.images.numpy().tobytes()).hexdigest()[:16] for part in (images.train, images.test)]
    assert digests == ["a22bb0e7224b784f", "737483bc8d0d668f"]
    assert images.train.images.dtype == torch.uint8
    assert torch.unique(images.train.images).tolist() == [0, 255]


def test_training_has_its_motif_in_the_middle_third_and_the_test_anywhere():
    dataset = DnaMotif(image_size=[120], train_sequences=500, test_sequences=500)
    train, test = dataset.planted("train"), dataset.planted("test")
    assert train.places.min() >= 40
    assert train.places.max() <= 80 - 16
    assert test.places.min() < 10
    assert test.places.max() > 95
    strata = dataset.load().test_strata
    assert strata.names == ("1–20", "21–40", "41–60", "61–80", "81–100", "101–120")
    assert torch.bincount(strata.of).min() > 40
    # A site that begins at the first letter has its middle in the first sixth.
    assert strata.of[int(test.places.argmin())] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image_size": [62]}, r"`dataset.image_size` must be \[LENGTH\], at least \[63\]"),
        ({"image_size": [40, 40]}, r"must be \[LENGTH\]"),
        ({"train_sequences": 9}, "`dataset.train_sequences` must be a whole number of at least 10"),
        ({"test_sequences": 0}, "`dataset.test_sequences`"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        DnaMotif(**arguments)


def test_arguments_make_another_identity():
    prints = {
        DnaMotif(**arguments).fingerprint()
        for arguments in ({}, {"image_size": [200]}, {"train_sequences": 20}, {"test_sequences": 20})
    }
    assert len(prints) == 4


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "own_train.tsv").write_text("b\tACGTA\na\tGGGGG\na\tACNTA\n")
    (tmp_path / "own_test.tsv").write_text("a\tTTTTT\nb\tCCCCC\n")
    return tmp_path


def test_a_folder_of_tables_is_a_dataset(tables):
    dataset = SequenceFolder(root=tables)
    images = dataset.load()
    assert (dataset.image_size, dataset.num_classes, images.class_names) == ((5,), 2, ("a", "b"))
    assert images.train.labels.tolist() == [1, 0, 0]
    assert (letters(images.train)[0] == encode("ACGTA")).all()
    assert "train: 1 of 3 sequences with ambiguous letters, which have equal parts in channels" in images.notes
    (tables / "own_test.tsv").write_text("a\tTTTTT\nb\tacgta\n")
    assert "test: 1 of 2 sequences that are in the training part, too" in SequenceFolder(root=tables).load().notes


def test_longer_sequences_are_cut_where_crop_says(tables):
    centre, random = (SequenceFolder(root=tables, image_size=[3], crop=crop) for crop in ("centre", "random"))
    assert (letters(centre.load().train)[0] == encode("CGT")).all()
    again = SequenceFolder(root=tables, image_size=[3], crop="random")
    assert (letters(random.load().train) == letters(again.load().train)).all()
    assert "train: 3 of 3 sequences cut to 3 letters, random" in random.load().notes
    assert "test: 2 of 2 sequences padded to 7 letters" in SequenceFolder(root=tables, image_size=[7]).load().notes
    prints = {SequenceFolder(root=tables, image_size=size).fingerprint() for size in (None, [3], [7])}
    assert len(prints | {centre.fingerprint()}) == 4


def test_what_cannot_be_is_named_before_anything_is_trained(tables):
    (tables / "own_train.tsv").write_text("a\tACGT\nb\tACGTA\n")
    with pytest.raises(
        DataError, match=r"sequences have 4 to 5 letters, such as t\w+/\w+\.\w+, line .*dataset.image_size=\[NUMBER\]"
    ):
        SequenceFolder(root=tables)
    (tables / "own_train.tsv").write_text("a\tACGTA\na\tACGTA\n")
    with pytest.raises(DataError, match="the training part has one class, a"):
        SequenceFolder(root=tables)
    (tables / "own_train.tsv").write_text("a\tACGTA\nc\tACGTA\n")
    with pytest.raises(DataError, match="the test has classes that the training part lacks: b"):
        SequenceFolder(root=tables)
    with pytest.raises(DataError, match="must name the folder"):
        SequenceFolder(root=None)
    with pytest.raises(ConfigurationError, match=r"`dataset.crop` must be one of random, centre, got 'left'"):
        SequenceFolder(root=tables, crop="left")
    with pytest.raises(ConfigurationError, match=r"must be null or \[LENGTH\]"):
        SequenceFolder(root=tables, image_size=[3, 3])


def test_a_fasta_file_a_class(tmp_path):
    for part in ("train", "test"):
        for name, text in (("x", ">1\nACG\n>2\nTTT\n"), ("y", ">1\nGGG\n")):
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / f"{name}.fasta").write_text(text)
    spec = {"_target_": "poolbench.data.sequences.sequence_folder.SequenceFolder", "root": str(tmp_path)}
    images = open_dataset({**spec, "name": "own", "val_fraction": 0.1, "image_size": None}).load()
    assert images.class_names == ("x", "y")
    assert images.train.labels.tolist() == [0, 0, 1]
