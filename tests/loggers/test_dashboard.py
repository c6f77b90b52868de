"""The dashboard's specification, field by field: it asks the questions, about the right runs, and computes nothing."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from loggers.conftest import clean
from loggers.server import serving
from report.conftest import Results

from poolbench.cli import main
from poolbench.experiment import Experiment, write_experiment
from poolbench.loggers.dashboard import Dashboard
from poolbench.loggers.saving import dashboard_of
from poolbench.loggers.wandb_report import VERDICTS
from poolbench.score import Score


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Made without a key; whatever asks a network is heard, and nothing must."""
    top = tmp_path_factory.mktemp("dashboard")
    results = Results(top / "results" / "it's mine")
    for seed in range(3):
        results.add("max", seed, 0.90 + seed / 100)
        results.add("avg", seed, 0.85 + seed / 90)
    results.add("gap", 0, None, status="failed", reason="it broke")
    write_experiment(results.folder, Experiment("it's mine", question="Does it matter?"))
    with pytest.MonkeyPatch.context() as patch, serving("html") as server:
        clean(patch, top / "home")
        patch.chdir(top)
        for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            patch.setenv(name, server.url)
        printed: list[str] = []
        patch.setattr("sys.stdout.write", printed.append)
        assert main(["dashboard", "it's mine", "--dry-run", "--project", "pools"]) == 0
        assert server.asked == []
    found: dict[str, Any] = json.loads("".join(printed)) | {"results": results}
    return found


@pytest.fixture(scope="module")
def panels(specification: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    bank = specification["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in bank if section["panels"]}


def test_it_is_about_the_experiments_runs_with_the_reference_as_baseline(specification: dict[str, Any]) -> None:
    workspace = specification["workspace"]
    assert workspace["project"] == "pools"
    assert workspace["displayName"] == "poolbench: it's mine"
    (runset,) = workspace["spec"]["section"]["runSets"]
    (found,) = runset["filters"]["filters"]
    assert (found["key"], found["op"], found["value"]) == ({"section": "run", "name": "group"}, "=", "it's mine")
    records = specification["results"].folder.glob("records/*-max-*-s0-*")
    (baseline,) = [path.name for path in records]
    for pinned in (runset["baselineRunId"], *runset["pinnedRunIds"]):
        assert base64.b64decode(pinned).decode() == f"Run:v1:{baseline}:pools:"
    assert runset["sort"]["keys"][0]["key"] == {"section": "summary", "name": "test_accuracy"}


def test_accuracy_by_variant_with_its_spread(panels: dict[str, Any]) -> None:
    bar, told = panels["Accuracy by variant, with its spread over seeds"]
    assert bar["viewType"] == "Bar Chart"
    config = bar["config"]
    assert config["metrics"] == ["summary_metrics.test_accuracy"]
    assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == ("labels.value.variant", "mean", "stddev")
    assert "no interval of the comparison" in told["config"]["value"]


def test_another_score_by_its_own_words(specification: dict[str, Any]) -> None:
    score = Score("mean_iou", "fraction of 1", "lower", "points")
    made = Dashboard("mine", "pools", "", "mine", "", (), (), "", True, score).specification()
    section = made["workspace"]["spec"]["section"]
    assert section["runSets"][0]["sort"]["keys"][0] == {
        **specification["workspace"]["spec"]["section"]["runSets"][0]["sort"]["keys"][0],
        "key": {"section": "summary", "name": "test_mean_iou"},
        "ascending": True,
    }
    found = {one["name"]: one["panels"] for one in section["panelBankConfig"]["sections"]}
    bar, _ = found["Mean IoU by variant, with its spread over seeds"]
    assert bar["config"]["chartTitle"] == "Test mean IoU: mean and standard deviation over seeds"
    assert bar["config"]["metrics"] == ["summary_metrics.test_mean_iou"]
    assert "mean iou" not in json.dumps(made)


def test_the_paired_difference_is_the_projects_own(panels: dict[str, Any]) -> None:
    chart, bar = panels["Paired difference to the reference"]
    assert chart["viewType"] == "Vega2"
    assert chart["config"]["panelDefId"] == "wandb/bar/v0"
    assert chart["config"]["fieldSettings"] == {"label": "arm", "value": "difference_mean"}
    (query,) = chart["config"]["userQuery"]["queryFields"]
    tables = [one["args"] for one in query["fields"] if one["name"] == "summaryTable"]
    assert [[arg["name"], arg["value"]] for (arg,) in tables] == [["tableKey", "difference_table"]]
    assert bar["config"]["metrics"] == ["summary_metrics.difference_mean"]
    assert bar["config"]["groupArea"] == "none"
    assert "difference_mean" in VERDICTS


def test_accuracy_against_cost(panels: dict[str, Any]) -> None:
    speed, parameters = panels["Accuracy against speed and parameters"]
    assert "Speed was not measured" in speed["config"]["value"]
    assert parameters["viewType"] == "Scatter Plot"
    config = parameters["config"]
    assert (config["xAxis"], config["yAxis"], config["xAxisLogScale"]) == (
        *("summary:parameters", "summary:test_accuracy"),
        True,
    )


def test_learning_curves_by_variant_with_standard_error(panels: dict[str, Any]) -> None:
    curves = panels["Learning curves by variant, with standard error"]
    assert [one["config"]["metrics"] for one in curves] == [["val_accuracy"], ["train_loss"]]
    for one in curves:
        config = one["config"]
        assert config["xAxis"] == "epoch"
        assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == (
            "labels.value.variant",
            "mean",
            "stderr",
        )


def test_failed_cells_and_the_verdict_in_words(panels: dict[str, Any]) -> None:
    failed, _ = panels["Failed cells"]
    assert "gap" in failed["config"]["value"]
    assert "it broke" in failed["config"]["value"]
    words, table = panels["Verdicts"]
    assert "against max" in words["config"]["value"]
    assert '"verdicts"' in json.dumps(table)


def test_the_report_says_question_and_verdict_and_holds_the_panels(
    specification: dict[str, Any], panels: dict[str, Any]
) -> None:
    blocks = specification["report"]["spec"]["blocks"]
    texts = json.dumps(blocks)
    assert "Does it matter?" in texts
    assert "against max" in texts
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    assert len(grids) == len(panels)
    for grid in grids:
        (runset,) = grid["metadata"]["runSets"]
        assert runset["filters"]["filters"][0]["value"] == "it's mine"


@pytest.mark.usefixtures("offline")
def test_it_is_saved_for_the_keys_owner_unless_an_entity_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(tmp_path / "results" / "mine")
    for seed in range(3):
        results.add("max", seed, 0.90 + seed / 100)
        results.add("avg", seed, 0.85 + seed / 90)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with serving("right") as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        for entity in ([], ["--entity", "team"]):
            server.views.clear()
            assert main(["dashboard", "mine", "--project", "pools", *entity]) == 0
            workspace, report = server.views
            owner = entity[-1] if entity else "me"
            for view, kind in ((workspace, "project-view"), (report, "runs")):
                assert (view["entityName"], view["projectName"], view["type"]) == (owner, "pools", kind)
                assert view["displayName"] == "poolbench: mine"
                assert "against max" in view["spec"]
            addresses = capsys.readouterr().out.splitlines()
            assert len(addresses) == 2
            assert all(address.startswith(f"{server.url}/{owner}/pools") for address in addresses)
        # What would be saved is printed without a look at the server, an entity or not.
        before = len(server.asked)
        assert main(["dashboard", "mine", "--project", "pools", "--entity", "team", "--dry-run"]) == 0
        assert len(server.asked) == before
        server.answer = "viewer alone"
        assert main(["dashboard", "mine", "--project", "pools"]) == 2
        assert "could not be saved" in capsys.readouterr().err


def test_its_runs_are_those_of_the_group_that_they_were_given() -> None:
    records: list[dict[str, Any]] = []
    shared: dict[str, Any] = {"question": "", "words": (), "failed": (), "project": "p", "entity": "", "measured": True}
    for asked, group in ((None, "mine"), ("theirs", "theirs"), ("x" * 200, "x" * 128)):
        made = dashboard_of(experiment="mine", records=records, group=asked, **shared).specification()
        (runset,) = made["workspace"]["spec"]["section"]["runSets"]
        assert runset["filters"]["filters"][0]["value"] == group


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing", "--dry-run"], "no experiment 'nothing': neither nothing nor results/nothing holds records"),
        (["mine"], r"cannot be saved \(no API key\).*--dry-run"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_what_cannot_be_made_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Results(tmp_path / "results" / "mine").add("max", 0, 0.9)
    assert main(["dashboard", *arguments]) == 2
    assert re.search(says, capsys.readouterr().err)
