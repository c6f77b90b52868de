"""What an experiment asks and what others published: checked, written when a sweep begins, read back."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from cells import SHORT, records

from poolbench.cli import main
from poolbench.errors import ConfigurationError
from poolbench.experiment import EXPERIMENT_FILE, Experiment, Published, read_experiment, write_experiment

FIGURE = {
    "source": "Doe 2020, table 3",
    "backbone": "slides",
    "dataset": "digits",
    "variant": "max",
    "test_accuracy": 0.9561,
    "recipe": "300 epochs",
}


class TestPublished:
    def test_what_must_be_given_and_what_may(self) -> None:
        plain = Published.of(FIGURE, "here")
        assert (plain.test_accuracy, plain.test_accuracy_std, plain.n_runs) == (0.9561, None, None)
        whole = Published.of(FIGURE | {"test_accuracy_std": 0.002, "n_runs": 5}, "here")
        assert (whole.test_accuracy_std, whole.n_runs) == (0.002, 5)

    @pytest.mark.parametrize("accuracy", [0, 1, 0.5])
    def test_a_fraction(self, accuracy: float) -> None:
        assert Published.of(FIGURE | {"test_accuracy": accuracy}, "here").test_accuracy == accuracy

    @pytest.mark.parametrize("key", FIGURE)
    def test_each_missing_key_is_named(self, key: str) -> None:
        row = {name: value for name, value in FIGURE.items() if name != key}
        with pytest.raises(ConfigurationError, match=rf"^here: `{key}` must be .*, got None$"):
            Published.of(row, "here")

    @pytest.mark.parametrize("key", ["source", "backbone", "dataset", "variant", "recipe"])
    @pytest.mark.parametrize("value", ["", "  ", 5, ["max"]])
    def test_each_name_is_a_text(self, key: str, value: Any) -> None:
        with pytest.raises(ConfigurationError) as error:
            Published.of(FIGURE | {key: value}, "here")
        assert str(error.value) == f"here: `{key}` must be a text, got {value!r}"

    @pytest.mark.parametrize("key", ["test_accuracy", "test_accuracy_std"])
    @pytest.mark.parametrize("value", [95.61, -0.1, "0.9", True, math.nan, math.inf])
    def test_each_accuracy_is_a_fraction(self, key: str, value: Any) -> None:
        with pytest.raises(ConfigurationError) as error:
            Published.of(FIGURE | {key: value}, "here")
        assert str(error.value).startswith(f"here: `{key}` must be a fraction in 0..1")
        assert str(error.value).endswith(f"got {value!r}")

    @pytest.mark.parametrize("value", [0, -1, 2.5, "5", True])
    def test_runs_are_counted(self, value: Any) -> None:
        with pytest.raises(ConfigurationError) as error:
            Published.of(FIGURE | {"n_runs": value}, "here")
        assert str(error.value) == f"here: `n_runs` must be a whole number of at least 1 or null, got {value!r}"

    def test_unknown_keys(self) -> None:
        with pytest.raises(ConfigurationError, match=r"^here: unknown accuracy, 7; there are source, variant"):
            Published.of(FIGURE | {"accuracy": 0.9, 7: 0}, "here")

    @pytest.mark.parametrize("row", ["max", 0.9, None, [1]])
    def test_no_row(self, row: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"^here must hold keys and values, got "):
            Published.of(row, "here")


class TestExperiment:
    def test_through_the_file(self, tmp_path: Path) -> None:
        figures = [FIGURE | {"n_runs": 3}, FIGURE | {"variant": "avg", "test_accuracy_std": 0.01}]
        experiment = Experiment.of(tmp_path.name, " Which is best?\n", "max", figures)
        assert experiment.question == "Which is best?"
        write_experiment(tmp_path, experiment)
        assert read_experiment(tmp_path) == experiment
        assert [path.name for path in tmp_path.iterdir()] == [EXPERIMENT_FILE]

    def test_the_name_is_the_folders_of_now(self, tmp_path: Path) -> None:
        write_experiment(tmp_path / "old", Experiment.of("old", "Why?", None, None))
        (tmp_path / "old").rename(tmp_path / "new")
        assert read_experiment(tmp_path / "new") == Experiment("new", "Why?")

    def test_nothing_said(self, tmp_path: Path) -> None:
        assert read_experiment(tmp_path) == Experiment.of(tmp_path.name, None, None, None) == Experiment(tmp_path.name)
        assert not Experiment.of("x", " ", "", []).says_something

    @pytest.mark.parametrize(("key", "value"), [("question", "Why?"), ("expected", "max"), ("published", [FIGURE])])
    def test_something_said(self, key: str, value: Any) -> None:
        said = {"question": None, "expected": None, "published": None} | {key: value}
        assert Experiment.of("x", **said).says_something

    @pytest.mark.parametrize(
        ("said", "says"),
        [
            ({"question": 5}, "`question` must be a text, got 5"),
            ({"expected": ["max"]}, "`expected` must be a text, got ['max']"),
            ({"published": "max"}, "`published` must be a list, got 'max'"),
            ({"published": FIGURE}, "`published` must be a list, got {"),
            (
                {"published": [FIGURE | {"difference": 0.1}]},
                "`published[0]`: `difference` stands in the place of `test_accuracy`",
            ),
            (
                {"published": [{k: v for k, v in FIGURE.items() if k != "test_accuracy"} | {"difference": 4.3}]},
                "`published[0]`: `difference` must be a fraction in -1..1, got 4.3",
            ),
            ({"published": [FIGURE, FIGURE | {"recipe": ""}]}, "`published[1]`: `recipe` must be a text, got ''"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path: Path, said: dict[str, Any], says: str) -> None:
        path = tmp_path / EXPERIMENT_FILE
        path.write_text(json.dumps(said))
        with pytest.raises(ConfigurationError) as error:
            read_experiment(tmp_path)
        assert str(error.value).startswith(f"{path}: {says}")


class TestSweep:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def train(self, *overrides: str) -> int:
        return main(["train", *SHORT, *overrides])

    @pytest.mark.slow
    def test_writes_what_it_asks_and_its_margin(self, tmp_path: Path) -> None:
        figure = "{source: Doe, backbone: slides, dataset: digits, variant: avg, test_accuracy: 0.5, recipe: none}"
        said = ("question='Which, if any?'", "expected='None, I think.'", f"published=[{figure}]", "margin=0.25")
        assert self.train("pooling=max,avg", *said) == 0
        folder = tmp_path / "results" / "adhoc"
        found = read_experiment(folder)
        assert (found.question, found.expected) == ("Which, if any?", "None, I think.")
        assert [(row.variant, row.test_accuracy) for row in found.published] == [("avg", 0.5)]
        assert {key: record["margin"] for key, record in records(folder).items()} == {"max/0": 0.0025, "avg/0": 0.0025}
        assert "**Question.** Which, if any?" in (folder / "summary.md").read_text()
        assert "published_test_accuracy" in (folder / "published.csv").read_text()
        assert "Which, if any?" in (folder / "report.html").read_text()
        assert (folder / "accuracy.png").is_file()

    def test_has_one_name(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        # A sweep is one plan in one folder.
        assert self.train("name=one,other", "question='Why?'") == 2
        assert "`name` must be one for the whole sweep, got 2" in capsys.readouterr().err
        assert not (tmp_path / "results").exists()

    @pytest.mark.slow
    def test_a_question_is_never_cut_at_its_comma(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        # Hydra takes an unquoted comma for a list of two questions.
        assert self.train("question=Which, if any?") == 2
        assert "`question`" in capsys.readouterr().err
        assert not (tmp_path / "results").exists()

    def test_that_asks_nothing_writes_no_such_file(self, tmp_path: Path) -> None:
        assert self.train() == 0
        folder = tmp_path / "results" / "adhoc"
        assert not (folder / EXPERIMENT_FILE).exists()
        assert [record["margin"] for record in records(folder).values()] == [0.005]

    @pytest.mark.quick(2)
    @pytest.mark.parametrize(
        ("override", "says"),
        [
            ("margin=-0.1", "`margin` must be a number of points in 0..100, got -0.1"),
            ("margin=100", "`margin` must be a number of points in 0..100, got 100"),
            ("margin=nan", "`margin` must be a number of points in 0..100, got nan"),
            ("margin=true", "`margin` must be a number of points in 0..100, got True"),
            ("margin=null", "`margin` must be a number of points in 0..100, got None"),
            ("margin=half", "`margin` must be a number of points in 0..100, got 'half'"),
            ("margin=0.5,half", "`margin` must be one for the whole sweep, got 2: '0.5', 'half'"),
            ("question=5", "`question` must be a text, got 5"),
            ("expected=[max]", "`expected` must be a text, got ['max']"),
            ("published=max", "`published` must be a list, got 'max'"),
            ("published=[{source:Doe,accuracy:0.9}]", "`published[0]`: unknown accuracy"),
            ("published=[{source:Doe}]", "`published[0]`: `variant` must be a text, got None"),
        ],
    )
    def test_what_is_wrong_is_told_before_training(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, says: str
    ) -> None:
        assert self.train(override) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert told.count("poolbench: error") == 1
        assert says in told
        assert not (tmp_path / "results").exists()
