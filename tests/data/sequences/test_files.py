import numpy as np
import pytest
import torch

from poolbench.data.sequences.alphabet import encode
from poolbench.data.sequences.files import Labelled, part_files, read_sequences
from poolbench.data.sequences.fitting import common_length, fit_length
from poolbench.errors import DataError


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def labelled(*texts):
    return [Labelled(f"line {n}", "a", encode(text), 0) for n, text in enumerate(texts, 1)]


def test_a_table_gives_class_and_letters(tmp_path):
    found = read_sequences(written(tmp_path / "x_train.tsv", "EI\tACGN\n\nIE\tACGT\n"))
    file = f"{tmp_path.name}/x_train.tsv"
    assert [(one.class_name, one.where, one.ambiguous) for one in found] == [
        ("EI", f"{file}, line 1", 1),
        ("IE", f"{file}, line 3", 0),
    ]
    assert (found[1].levels == encode("ACGT")).all()


def test_a_fasta_file_is_a_class_and_its_lines_are_joined(tmp_path):
    found = read_sequences(written(tmp_path / "cds.fasta", ">one first\nACG\nT\n>two\nAA\n"))
    assert [(one.class_name, one.where) for one in found] == [
        ("cds", f"{tmp_path.name}/cds.fasta, line 1 (one)"),
        ("cds", f"{tmp_path.name}/cds.fasta, line 4 (two)"),
    ]
    assert (found[0].levels == encode("ACGT")).all()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.tsv", "EI\tAC-T\nIE\tACGT\nN\tAXT", r"(?s)2 sequences .*line 1: '-' at place 3.*line 3: 'X' at place 2"),
        ("x.tsv", "EI ACGT\n", r"x.tsv, line 1: must be CLASS<tab>SEQUENCE, got 1 columns"),
        ("x.tsv", "EI\t\n", "line 1: no letters"),
        ("x.tsv", "\tACGT\n", "line 1: no class"),
        ("x.tsv", "\n", "x.tsv has no sequence"),
        ("x.fasta", "ACGT\n", "x.fasta, line 1: a FASTA file begins"),
        ("x.fasta", ">a\n>b\nAC\n", r"line 1 \(a\): no letters"),
        ("x.fasta", "", "has no sequence"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_file_and_line(tmp_path, name, text, said):
    with pytest.raises(DataError, match=said):
        read_sequences(written(tmp_path / name, text))


def test_files_are_found_in_both_layouts(tmp_path):
    for part in ("train", "test"):
        written(tmp_path / "tables" / f"splice_{part}.tsv", "")
        written(tmp_path / "plain" / f"{part}.tsv", "")
        for name in ("a", "b"):
            written(tmp_path / "fasta" / part / f"{name}.fa", "")
    written(tmp_path / "tables" / "cds.fasta", "")
    assert [path.name for path in part_files(tmp_path / "tables", None)["test"]] == ["splice_test.tsv"]
    assert [path.name for path in part_files(tmp_path / "plain", None)["train"]] == ["train.tsv"]
    assert [path.stem for path in part_files(tmp_path / "fasta", None)["test"]] == ["a", "b"]


def test_what_is_missing_or_meant_twice_is_named(tmp_path):
    for name in ("one", "two"):
        for part in ("train", "test"):
            written(tmp_path / "two" / f"{name}_{part}.tsv", "")
    written(tmp_path / "uneven" / "train" / "a.fa", "")
    written(tmp_path / "uneven" / "test" / "b.fa", "")
    with pytest.raises(DataError, match=r"several pairs of files: one, two; say which by dataset.pair=NAME"):
        part_files(tmp_path / "two", None)
    assert part_files(tmp_path / "two", "one")["train"][0].name == "one_train.tsv"
    with pytest.raises(DataError, match=r"must be one of one, two, .* got 'three'"):
        part_files(tmp_path / "two", "three")
    with pytest.raises(DataError, match=r"classes of .* differ: a and b"):
        part_files(tmp_path / "uneven", None)
    with pytest.raises(DataError, match="is no folder"):
        part_files(tmp_path / "absent", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it has neither"):
        part_files(tmp_path / "empty", None)


def test_unequal_lengths_need_a_length():
    with pytest.raises(
        DataError, match=r"demo: sequences have 3 to 5 letters, such as line 2 with 5; .*dataset.image_size=.NUMBER"
    ):
        common_length(labelled("ACG", "ACGTA"), None, "demo")
    assert common_length(labelled("ACG", "AAA"), None, "demo") == 3
    assert common_length(labelled("ACG", "ACGTA"), 4, "demo") == 4


def test_longer_sequences_are_cut_in_the_middle_and_shorter_ones_padded_at_both_ends():
    fitted = fit_length(labelled("ACGTACG", "AC", "ACGT"), 4, "centre", torch.Generator())
    assert (fitted.levels[0] == encode("CGTA")).all()
    assert (fitted.levels[1] == np.concatenate([np.zeros((4, 1)), encode("AC"), np.zeros((4, 1))], 1)).all()
    assert (fitted.levels[2] == encode("ACGT")).all()
    assert fitted.begins.tolist() == [1, -1, 0]


def test_a_random_cut_may_begin_anywhere_and_pads_nothing():
    fitted = fit_length(labelled(*["ACGTA"] * 200), 3, "random", torch.Generator().manual_seed(0))
    assert np.bincount(fitted.begins).tolist() == pytest.approx([67, 67, 67], abs=25)
    for levels, begin in zip(fitted.levels, fitted.begins, strict=True):
        assert (levels == encode("ACGTA"[begin : begin + 3])).all()
