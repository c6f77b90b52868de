import numpy as np
import pytest
import torch

from poolbench.data.sequences.alphabet import encode, one_hot, spell
from poolbench.data.sequences.background import background, word_counts
from poolbench.data.sequences.motifs import MOTIFS
from poolbench.data.sequences.planting import CLASS_NAMES, plant


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_letters_have_the_channel_of_their_place_in_acgt():
    assert (encode("ACGT") == 255 * np.eye(4, dtype=np.uint8)).all()
    assert (encode("acgu") == encode("ACGT")).all()
    assert (one_hot(np.array([[0, 1, 2, 3]]))[0] == encode("ACGT")).all()


def test_an_ambiguous_letter_has_equal_parts_of_what_it_stands_for():
    # R is a purine (A or G), Y a pyrimidine (C or T), D anything but C, N anything.
    levels = dict(zip("RYDN", encode("RYDN").T.tolist(), strict=True))
    assert levels == {"R": [128, 0, 128, 0], "Y": [0, 128, 0, 128], "D": [85, 0, 85, 85], "N": [64, 64, 64, 64]}
    assert np.allclose(encode("RYSWKMBDHVN").sum(0), 255, atol=1)


@pytest.mark.parametrize(("text", "said"), [("AC-T", "'-' at place 3"), ("ACé", "'é' at place 3"), ("A C", "' ' at")])
def test_what_is_no_letter_is_named_with_its_place(text, said):
    with pytest.raises(ValueError, match=said):
        encode(text)


def test_the_background_has_the_words_of_its_source():
    """Words of four letters in a long sample are as frequent as counted, within four standard errors of a count."""
    counts = word_counts()
    assert counts.sum() == 94_185
    letters = background(400, 2000, generator()).astype(np.int64)
    words = np.zeros((4, 4, 4, 4))
    np.add.at(words, tuple(letters[:, place : place + 1997] for place in range(4)), 1)
    after = counts / counts.sum(3, keepdims=True)
    seen = words / words.sum(3, keepdims=True)
    error = np.sqrt(after * (1 - after) / words.sum(3, keepdims=True))
    assert (np.abs(seen - after) < 4.5 * error).all()
    # A tail of a genome: CG is rare, though C and G are not.
    assert words[1, 2].sum() / words.sum() < 0.5 * words[1].sum() * words[2].sum() / words.sum() ** 2


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_short_background_begins_as_a_long_one(length):
    assert (background(5, length, generator()) < 4).all()
    assert background(5, length, generator()).shape == (5, length)


@pytest.mark.parametrize("motif", MOTIFS, ids=lambda motif: motif.name)
def test_sites_are_drawn_by_the_matrix(motif):
    assert motif.counts.shape == (4, motif.width)
    sites = motif.draw(20_000, generator())
    seen = (sites[:, None, :] == np.arange(4)[:, None]).mean(0)
    assert np.abs(seen - motif.frequencies()).max() < 0.015


def test_consensus_of_ctcf_and_srf_are_those_of_the_literature():
    """CTCF binds CCACNAGGNGGC, SRF a CArG box CC(A/T)6GG."""
    consensus = {motif.name: spell(motif.counts.argmax(0)) for motif in MOTIFS}
    assert "CCACCAGGGGGC" in consensus["CTCF"]
    assert "CCATATATGG" in consensus["SRF"]


def test_every_sequence_holds_one_site_within_reach_and_classes_take_turns():
    planted = plant(1000, 120, (30, 70), generator())
    assert np.bincount(planted.labels).tolist() == [200] * len(CLASS_NAMES)
    widths = np.array([motif.width for motif in MOTIFS])
    for label, width in enumerate(widths):
        places = planted.places[planted.labels == label]
        assert places.min() == 30
        assert places.max() == 70 - width
    # The planted letters are the matrix's: the site's most frequent letters are its consensus.
    for label, motif in enumerate(MOTIFS):
        rows = np.flatnonzero(planted.labels == label)
        sites = planted.letters[rows[:, None], planted.places[rows, None] + np.arange(motif.width)]
        seen = (sites[:, None, :] == np.arange(4)[:, None]).mean(0)
        assert np.abs(seen - motif.frequencies()).max() < 0.15


def test_decoys_hold_the_letters_of_sites_and_their_order_of_none():
    """Scored by the matrices, decoys look like the background; their letters are as frequent as the sites'."""
    planted = plant(5000, 60, (0, 60), generator())
    decoys = planted.labels == len(MOTIFS)
    turns = np.arange(5000) // 5 % len(MOTIFS)
    for number, motif in enumerate(MOTIFS):
        scores = np.log2((motif.counts + 0.5) / (motif.counts + 0.5).sum(0) / 0.25)

        def best(rows, width=motif.width, scores=scores):
            sites = planted.letters[rows[:, None], planted.places[rows, None] + np.arange(width)]
            return scores[sites, np.arange(width)].sum(1)

        mine = best(np.flatnonzero(decoys & (turns == number)))
        real = best(np.flatnonzero(planted.labels == number))
        assert mine.mean() < 0 < 12 < real.mean()


def test_what_is_drawn_depends_on_the_stream_alone():
    first, second, other = (plant(10, 60, (0, 60), generator(seed)) for seed in (0, 0, 1))
    assert (first.letters == second.letters).all()
    assert not (first.letters == other.letters).all()
