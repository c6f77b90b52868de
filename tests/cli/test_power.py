"""`poolbench power`: from a pilot's records, from what was published, from figures."""

import argparse
import csv
import re
from pathlib import Path

import pytest
from report.conftest import Results
from rich.console import Console

from poolbench.cli import main
from poolbench.cli.power import _show, _sorted
from poolbench.errors import ConfigurationError
from poolbench.report.pilot import Pilot
from poolbench.report.statistics.power import Variances

ROOT = Path(__file__).parents[2]
PILOT = str(ROOT / "results" / "reference" / "quickstart")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["power", *arguments]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_pilot_by_its_experiment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = said(capsys, "experiment=quickstart", "results_dir=results/reference", "--points", "2", "--seeds", "3", "10")
    assert "reference/quickstart, slides on digits" in text
    assert "3 seeds 10 seeds seeds for 80 %" in text
    assert "10,000" in text
    assert "seeds and test examples count" in text


def test_published_figures_of_an_experiment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = said(capsys, "experiment=cifar10", "--arms", "5", "--points", "0.5", "--images", "10000")
    assert "on cifar10" in text
    assert "among 5 arms" in text


def test_a_point_of_an_error_is_a_share_of_the_reference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = said(capsys, "results/reference/line", "--points", "10", "--images", "1000", "--seeds", "3", "50")
    rows = csv.DictReader((ROOT / "results/reference/line/scores.csv").read_text().splitlines())
    reference = next(row for row in rows if row["verdict"] == "reference")
    assert f"10 per cent of the reference's mean ({float(reference['score_mean']):.4g})" in text
    # Ten per cent of so small an error, not a tenth of full steering: which any run would find.
    assert re.search(r"1,000 \d %", text)


def test_seeds_alone_where_images_are_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "--std", "0.5", "--points", "1")
    assert "only the seeds count" in text
    # 2·0.5² = 0.71² over seeds.
    assert "varies by 0.71 points" in text


def test_a_block_whose_seeds_do_not_vary_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    results = Results(tmp_path / "pilot")
    for seed in range(3):
        for dataset, step in (("digits", 0.01), ("cifar10", 0.0)):
            results.add("max", seed, 0.9, dataset=dataset)
            results.add("avg", seed, 0.8 + step * seed, dataset=dataset)
    text = said(capsys, str(results.folder))
    assert "pilot, slides on cifar10 Left out: its records do not show how much differences vary" in text
    # Over seeds 0, 1, 2 points vary by one point.
    assert re.search(r"pilot, slides on digits test examples .* varies by 1.00 points", text)


def test_a_share_of_a_reference_of_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Console(), Pilot("errors", Variances(0.01), mean=0.0), argparse.Namespace(arms=None, images=None))
    assert "Left out: differences are shares of the reference's mean, which is 0." in capsys.readouterr().out


def test_images_in_groups_are_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = said(capsys, "results/reference/heartbeats")
    # Twenty patients of fifty beats each.
    assert "seeds and test examples count, these in groups of about 50 that vary together" in text


def test_a_folder_may_have_an_equals_sign_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1").mkdir()
    assert _sorted(["lr=0.1"]) == ({}, [Path("lr=0.1")])
    with pytest.raises(ConfigurationError, match="power takes experiment="):
        _sorted(["lr=0.2"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name what is known"),
        (("experiment=no_such_thing",), "unknown experiment 'no_such_thing'"),
        (("experiment=all_conv",), "run a pilot of a few seeds, or give --std"),
        (("pooling=max",), "power takes experiment="),
        (("a", "b"), "one results folder"),
        (("a", "--std", "1"), "give one of them"),
        (("--std", "1", "--wanted", "1.5"), "--wanted must be between 0 and 1"),
        (("--std", "1", "--points", "-1"), "--points must be a number above 0"),
        (("--std", "1", "--images", "600", "1"), "--images must be at least 2, got 1"),
        (("--std", "1", "--seeds", "3", "0"), "--seeds must be at least 1, got 0"),
        (("--std", "1", "--arms", "0"), "--arms must be at least 1, got 0"),
        (("--std", "1", "--correlation", "1"), "--correlation must be at least -1 and below 1, got 1"),
        (("--std", "1", "--disagreement", "nan", "--images", "9"), "--disagreement must be in 0..1, got nan"),
        (("--std", "1", "--disagreement", "0.05"), "--disagreement 0.05 needs --images, got none"),
        (("experiment=cifar10", "--disagreement", "0.05"), "--disagreement 0.05 needs --images, got none"),
        ((PILOT, "--correlation", "0.5"), "--correlation goes with published figures or --std, got 0.5"),
        ((PILOT, "--disagreement", "0", "--images", "9"), "--disagreement goes with published figures or --std, got 0"),
        (("--std", "1", "--points", "inf"), "--points must be a number above 0, got inf"),
        (("--std", "-1"), "--std must be a number above 0, in points, got -1"),
    ],
)
def test_what_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["power", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
