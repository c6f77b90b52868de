"""Every table as CSV and as Parquet: the same columns, the same values, the kinds kept."""

import io
from typing import Any

import pandas as pd
import pytest

from poolbench.experiment import Experiment, write_experiment
from poolbench.report.make import gather, table_files
from poolbench.report.reading.loading import load
from poolbench.report.tables.columns import TABLES

KINDS = {
    "count": pd.api.types.is_integer_dtype,
    "number": pd.api.types.is_float_dtype,
    "flag": pd.api.types.is_bool_dtype,
}


@pytest.fixture
def tables(results: Any) -> dict[str, pd.DataFrame]:
    blocks = [("slides", "digits"), ("slides", "cifar10"), ("slides", "mnist")]
    results.grid(blocks=blocks, variants=["max", "avg", "gap"], seeds=3)
    results.add("gmp", status="failed", reason="no")
    figure = {"source": "Doe, 2020", "backbone": "slides", "dataset": "digits", "recipe": 'the "same"'}
    figures = [figure | {"variant": name, "test_accuracy": 1 / 3} for name in ("max", "é, ü")]
    write_experiment(results.folder, Experiment.of("example", None, None, figures))
    return dict(gather(load(results.folder)).tables)


@pytest.fixture
def files(tables: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    return table_files(tables)


def test_there_are_two_of_each(tables: dict[str, pd.DataFrame], files: dict[str, bytes]) -> None:
    assert {"accuracy", "parameters", "throughput", "summary", "published", "across"} <= set(tables)
    assert set(files) == {f"{name}.{form}" for name in tables for form in ("csv", "parquet")}


def test_columns_and_values_are_equal(tables: dict[str, pd.DataFrame], files: dict[str, bytes]) -> None:
    for name in tables:
        parquet = pd.read_parquet(io.BytesIO(files[f"{name}.parquet"]))
        csv = pd.read_csv(io.BytesIO(files[f"{name}.csv"]))
        assert parquet.columns.tolist() == csv.columns.tolist(), name
        assert len(parquet) == len(csv) > 0, name
        for column in parquet:
            one, other = parquet[column], csv[column]
            # CSV has ten digits, and one and the same nothing for a text and a number.
            absent = one.isna() | (one == "").fillna(False)
            assert absent.tolist() == other.isna().tolist(), f"{name}.{column}"
            found, expected = one[~absent].tolist(), other[~absent].tolist()
            if pd.api.types.is_numeric_dtype(one):
                assert found == pytest.approx(expected, rel=1e-9), f"{name}.{column}"
            else:
                assert found == expected, f"{name}.{column}"


def test_parquet_keeps_every_digit(tables: dict[str, pd.DataFrame], files: dict[str, bytes]) -> None:
    for name, table in tables.items():
        parquet = pd.read_parquet(io.BytesIO(files[f"{name}.parquet"]))
        pd.testing.assert_frame_equal(parquet, table, check_exact=True, check_dtype=False)


def test_parquet_keeps_the_kinds(files: dict[str, bytes], tables: dict[str, pd.DataFrame]) -> None:
    for name in set(tables) & set(TABLES):
        parquet = pd.read_parquet(io.BytesIO(files[f"{name}.parquet"]))
        for column in TABLES[name]:
            if column.kind in KINDS:
                assert KINDS[column.kind](parquet[column.name]), f"{name}.{column.name}"
            else:
                assert all(isinstance(value, str) for value in parquet[column.name]), f"{name}.{column.name}"


def test_a_table_without_rows(results: Any) -> None:
    results.add()
    made = gather(load(results.folder)).tables["throughput"]
    parquet = pd.read_parquet(io.BytesIO(table_files({"throughput": made})["throughput.parquet"]))
    assert len(parquet) == 0
    assert parquet.columns.tolist() == made.columns.tolist()


def test_equal_tables_give_equal_bytes(tables: dict[str, pd.DataFrame], files: dict[str, bytes]) -> None:
    assert table_files({name: table.copy() for name, table in tables.items()}) == files
