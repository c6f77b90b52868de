"""`poolbench.load_results`: the frames agree with the records and with the tables, and the documented example runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import poolbench
from poolbench.errors import ConfigurationError
from poolbench.report.results import Results

TOP = Path(__file__).parents[2]
QUICKSTART = TOP / "results" / "reference" / "quickstart"


@pytest.fixture(scope="module")
def results() -> Results:
    return poolbench.load_results(QUICKSTART)


def test_a_cell_for_each_record_with_its_figures(results: Results) -> None:
    records = {path.parent.name: json.loads(path.read_text()) for path in QUICKSTART.glob("records/*/record.json")}
    assert set(results.cells["run_id"]) == set(records)
    for row in results.cells.to_dict("records"):
        record = records[row["run_id"]]
        assert (row["seed"], row["status"], row["arm_id"]) == (record["seed"], record["status"], record["arm_id"])
        assert row["test_accuracy"] == record["metrics"]["test_accuracy"]
        assert row["multiply_adds"] == record["cost"]["multiply_adds"]


def test_comparisons_are_those_of_the_table(results: Results) -> None:
    table = pd.read_csv(QUICKSTART / "accuracy.csv")
    table = table[table["variant"] != table["reference"]].set_index("arm_id")
    found = results.comparisons.set_index("arm_id")
    assert set(found.index) == set(table.index)
    assert found["verdict"].to_dict() == table["verdict"].to_dict()
    assert found["difference_mean"].to_numpy() == pytest.approx(table.loc[found.index, "difference_mean"].to_numpy())


def test_curves_count_epochs_from_1(results: Results) -> None:
    record = json.loads(next(QUICKSTART.glob("records/*/record.json")).read_text())
    curve = results.curves[results.curves["run_id"] == record["run_id"]]
    assert curve["epoch"].tolist() == list(range(1, len(record["history"]) + 1))
    assert curve["val_loss"].tolist() == [row["val_loss"] for row in record["history"]]


def test_scores_other_than_accuracy_are_there() -> None:
    folder = QUICKSTART.parent / "line"
    found = poolbench.load_results(folder)
    scores = pd.read_csv(folder / "scores.csv").set_index("arm_id")
    compared = found.comparisons.set_index("arm_id")
    assert set(compared.index) == set(scores.index[scores["variant"] != scores["reference"]])
    assert compared["verdict"].to_dict() == scores.loc[compared.index, "verdict"].to_dict()
    assert set(compared["score"]) == {"mean_absolute_error"}
    arms = found.arms.set_index("arm_id")["score_mean"]
    assert arms.to_numpy() == pytest.approx(scores.loc[arms.index, "score_mean"].to_numpy())
    record = json.loads(next(folder.glob("records/*/record.json")).read_text())
    curve = found.curves[found.curves["run_id"] == record["run_id"]]
    for name in ("train_mean_absolute_error", "val_mean_absolute_error"):
        assert curve[name].tolist() == [row[name] for row in record["history"]]


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path))):
        poolbench.load_results(tmp_path)


def test_the_example_of_the_documentation_runs_without_torch(tmp_path: Path) -> None:
    text = (TOP / "docs" / "notebook.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = "import matplotlib; matplotlib.use('agg')\n" + code.replace("results/reference", str(QUICKSTART.parent))
    code += "\nimport sys; assert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "translated_digits" in done.stdout
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_the_version_is_the_packages() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", poolbench.__version__)
    with pytest.raises(AttributeError, match="nothing"):
        poolbench.nothing  # noqa: B018
