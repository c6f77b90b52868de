"""Codons: usage as it was typed, strands that letters do not tell apart, genes whose frame is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from poolbench.data.sequences.alphabet import spell
from poolbench.data.sequences.codon import Codon
from poolbench.data.sequences.codons import coding, codon_frequencies, codon_usage
from poolbench.data.sequences.genes import stretches
from poolbench.data.sequences.strands import reverse_complement, show
from poolbench.errors import ConfigurationError, DataError

STOPS = ("TAA", "TAG", "TGA")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def letters_of(sequences: np.ndarray) -> np.ndarray:
    return (sequences[:, :, None] == np.arange(4)).mean(1)


def test_every_codon_but_the_stops_is_there_once():
    codons, acids, usage = codon_usage()
    names = [spell(codon) for codon in codons]
    assert len(set(names)) == 61
    assert not set(names) & set(STOPS)
    assert np.allclose(np.bincount(acids, usage), 1)
    by_name = dict(zip(names, usage, strict=True))
    # Of the table: leucine is CTG in half of all cases; methionine and tryptophan have one codon.
    assert by_name["CTG"] == pytest.approx(0.5)
    assert by_name["ATG"] == by_name["TGG"] == 1
    assert by_name["AGG"] == pytest.approx(0.02)


def test_coding_sequences_have_codons_as_often_as_stated_and_no_stop_in_their_frame():
    frequencies = codon_frequencies()
    codons = codon_usage()[0]
    sequences = coding(2000, 180, generator())
    # In one of its three frames a sequence has known codons alone, as often as they should be.
    numbers = np.full(64, -1)
    numbers[codons @ [16, 4, 1]] = np.arange(61)
    found = np.stack(
        [numbers[sequences[:, frame : frame + 177].reshape(-1, 59, 3) @ np.array([16, 4, 1])] for frame in range(3)]
    )
    whole = (found >= 0).all(2)
    assert whole.any(0).all()
    assert (whole.sum(0) == 1).mean() > 0.75
    only = found[whole.argmax(0), np.arange(2000)][whole.sum(0) == 1]
    # Chosen by having stops in the other frames, which says little of the codons in this one.
    assert np.abs(np.bincount(only.ravel(), minlength=61) / only.size - frequencies).max() < 0.01
    begins = whole[:, whole.sum(0) == 1].mean(1)
    assert np.abs(begins - 1 / 3).max() < 0.06


def test_the_letters_of_a_strand_are_those_of_the_other():
    codons, frequencies = codon_usage()[0], codon_frequencies()
    share = np.bincount(codons.ravel(), frequencies.repeat(3)) / 3
    assert share[0] == pytest.approx(share[3])
    assert share[1] == pytest.approx(share[2])


def test_reverse_complement_by_hand_and_twice():
    sequence = np.array([[0, 1, 2, 3, 3]])  # ACGTT
    assert spell(reverse_complement(sequence)[0]) == "AACGT"
    assert np.array_equal(reverse_complement(reverse_complement(sequence)), sequence)


def test_letters_alone_do_not_tell_the_strand_even_of_sequences_full_of_one():
    """A logistic regression on the letters learns nothing, where without matching it finds nearly all."""
    from sklearn.linear_model import LogisticRegression

    skewed = torch.multinomial(torch.tensor([0.34, 0.2, 0.28, 0.18]), 6000 * 60, True, generator=generator())
    sequences = skewed.view(6000, 60).numpy().astype(np.uint8)
    unmatched = np.concatenate([sequences[:3000], reverse_complement(sequences[3000:])])
    half = (np.arange(6000) >= 3000).astype(int)
    assert LogisticRegression().fit(letters_of(unmatched) * 20, half).score(letters_of(unmatched) * 20, half) > 0.9
    shown = show(sequences, generator(1))
    assert len(shown.labels) > 100
    assert shown.labels.mean() == 0.5
    fitted = LogisticRegression().fit(letters_of(shown.letters) * 20, shown.labels)
    assert fitted.score(letters_of(shown.letters) * 20, shown.labels) < 0.5 + 2.5 / np.sqrt(len(shown.labels))


def test_no_letter_tells_the_strand_of_the_data_set():
    shown = Codon(train_sequences=1500, test_sequences=200).shown("train")
    share = [letters_of(shown.letters[shown.labels == strand]).mean(0) for strand in (0, 1)]
    assert np.abs(share[0] - share[1]).max() < 0.005


@pytest.mark.parametrize("length", [[100], [149], [6], 48, [2, 150]])
def test_a_length_that_is_no_multiple_of_three_is_refused(length):
    with pytest.raises(ConfigurationError, match="a multiple of three, at least"):
        Codon(image_size=length)


def genes(path: Path, *sequences: str) -> Path:
    path.write_text("".join(f">gene{number}\n{letters}\n" for number, letters in enumerate(sequences)))
    return path


def test_a_gene_whose_length_is_no_multiple_of_three_is_named_by_file_and_line(tmp_path):
    path = genes(tmp_path / "own.fasta", "ATGAAATAA", "ATGAAAATAA", "ATGNAATAA")
    with pytest.raises(DataError, match=r"own\.fasta: 1 of 3 .* no multiple of three.*line 3 \(gene1\): 10 letters"):
        Codon(root=path)
    left = Codon(root=path, incomplete="leave_out")
    assert len(left.genes) == 1
    assert [note.split(" were")[0] for note in left.notes] == [
        "1 of 3 sequences with a length that is no multiple of three",
        "1 of 3 sequences with ambiguous letters",
    ]


def test_leaving_out_does_nothing_where_there_is_no_file():
    with pytest.raises(ConfigurationError, match=r"`dataset.incomplete=leave_out` does nothing .*dataset.root"):
        Codon(incomplete="leave_out")


def test_stretches_come_from_inside_of_a_gene_in_every_frame(tmp_path):
    inner = "GCA" * 400
    path = genes(tmp_path / "own.fasta", *[f"ATG{inner}TAA"] * 20)
    found = stretches(Codon(root=path).genes, 30, generator())
    texts = [spell(row) for row in found]
    assert {text[:3] for text in texts} == {"GCA", "CAG", "AGC"}
    assert not any("ATG" in text or "TAA" in text for text in texts)


def test_too_few_genes_are_an_error_that_says_how_many_there_are(tmp_path):
    path = genes(tmp_path / "own.fasta", *["ATG" + "GCAGTT" * 60 + "TAA"] * 12)
    with pytest.raises(DataError, match=r"`dataset\.train_sequences` must be at most \d+, as many as can be matched"):
        Codon(root=path, image_size=[30]).load()


def test_what_is_no_fasta_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"genes\.txt must be a FASTA file"):
        Codon(root=genes(tmp_path / "genes.txt", "ATG"))
