import numpy as np
import pytest

from poolbench.data.series.ucr_files import class_names, pair_of_files, read_series, without_missing
from poolbench.errors import DataError

TSV = "1\t0.5\t-1e1\tNaN\n-1\t1\t2\t3\n"
TXT = "  1.0000000e+00   5.0e-01  -1.0e+01   NaN\n -1   1  2   3 \n"
CSV = "1,0.5,-10,NaN\n-1,1,2,3\n"
TS = "#comment\n@problemName x\n@data\n0.5,-10,?:a\n1,2,3:b\n"


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "classes", "lines"),
    [
        ("x.tsv", TSV, ("1", "-1"), (1, 2)),
        ("x.tsv", "1\t0.5\t-10\t\n-1\t1\t2\t3\n", ("1", "-1"), (1, 2)),
        ("x.txt", TXT, ("1", "-1"), (1, 2)),
        ("x.tsv", f"\ufeff{TSV}", ("1", "-1"), (1, 2)),
        ("x.txt", CSV, ("1", "-1"), (1, 2)),
        ("x.ts", TS, ("a", "b"), (4, 5)),
    ],
)
def test_layouts_hold_the_same(tmp_path, name, text, classes, lines):
    series = read_series(written(tmp_path / name, text))
    assert series.classes == classes
    assert series.lines == lines
    np.testing.assert_equal(series.values, np.array([[[0.5, -10, np.nan]], [[1, 2, 3]]], np.float32))


def test_channels_of_a_ts_file_stand_between_colons(tmp_path):
    assert read_series(written(tmp_path / "x.ts", "@data\n1,2:3,4:a\n")).values.tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "x.tsv",
            "1\t2\t3\n2\t4\n",
            r"x.tsv, line 2: series must have equal lengths .*\[2\] values as in line 1, got \[1\]",
        ),
        ("x.tsv", "1\ttwo\n", "line 1: could not convert string to float: 'two'"),
        ("x.tsv", "1\tx\n", "line 1: could not convert"),
        ("x.ts", "@data\n1,2:3:a\n", r"line 2: series must have equal lengths"),
        ("x.ts", "@data\nonly\n", "line 2: must be VALUES:CLASS, got no class"),
        ("x.ts", "@data\n1,2:?\n", r"line 2: no class, got '\?'"),
        ("x.tsv", "NaN\t1\t2\n", "line 1: no class, got 'NaN'"),
        ("x.tsv", "1\t2\n\t1\n", "line 2: no class, got ''"),
        ("x.tsv", "\n", "x.tsv has no series"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path, name, text, said):
    with pytest.raises(DataError, match=said):
        read_series(written(tmp_path / name, text))


def test_missing_values_are_refused_or_drawn_between_neighbours(tmp_path):
    series = read_series(written(tmp_path / "x.tsv", "1\tNaN\t2\tNaN\tNaN\t8\tNaN\n1\t1\t1\t1\t1\t1\t1\n"))
    with pytest.raises(DataError, match=r"x.tsv: 4 values are missing, in line 1; .*dataset.missing=interpolate"):
        without_missing(series, "error")
    assert without_missing(series, "interpolate")[0, 0].tolist() == [2, 2, 4, 6, 8, 8]
    hollow = read_series(written(tmp_path / "y.tsv", "1\tNaN\tNaN\n"))
    with pytest.raises(DataError, match="line 1: a channel has no value at all"):
        without_missing(hollow, "interpolate")
    with pytest.raises(DataError, match="infinite values in line 1"):
        without_missing(read_series(written(tmp_path / "z.tsv", "1\tinf\t0\n")), "interpolate")


def test_pairs_are_found_by_name(tmp_path):
    for name in ("A_TRAIN.tsv", "A_TEST.tsv", "B_TRAIN.ts", "B_TEST.ts", "C_TRAIN.txt"):
        written(tmp_path / name, "")
    assert pair_of_files(tmp_path, "B") == ("B", tmp_path / "B_TRAIN.ts", tmp_path / "B_TEST.ts")
    with pytest.raises(DataError, match=r"holds several: A, B; say which by dataset.series=NAME"):
        pair_of_files(tmp_path, None)
    with pytest.raises(DataError, match="must hold C_TRAIN and C_TEST; it has A, B"):
        pair_of_files(tmp_path, "C")
    with pytest.raises(DataError, match="is no folder"):
        pair_of_files(tmp_path / "absent", None)


def test_classes_are_sorted_as_numbers_and_the_tests_must_be_among_them():
    assert class_names(["10", "-1", "2"], ["2"], "x") == ("-1", "2", "10")
    assert class_names(["b", "a1"], ["b"], "x") == ("a1", "b")
    with pytest.raises(DataError, match="the test has classes that the training part lacks: 3"):
        class_names(["1", "2"], ["3"], "x")
    with pytest.raises(DataError, match="has one class, 1"):
        class_names(["1", "1"], ["1"], "x")
