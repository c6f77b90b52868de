"""A W&B sweep: its configuration is the Hydra sweep, and its command trains as an agent of W&B's would call it."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cells import SHORT, records
from loggers.conftest import read_runs
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from poolbench.cli import main
from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import compose
from poolbench.record import GROUPS


def written(tmp_path: Path, *words: str) -> dict[str, Any]:
    into = tmp_path / "sweep.yaml"
    assert main(["wandb-sweep", *words, "--into", str(into)]) == 0
    found: dict[str, Any] = yaml.safe_load(into.read_text())
    return found


def calls(sweep: dict[str, Any]) -> list[list[str]]:
    """Return what an agent would run, made by W&B's own code, for each point of the grid."""
    parameters = {key: one["values"] for key, one in sweep["parameters"].items()}
    found = []
    for point in itertools.product(*parameters.values()):
        args = {key: {"value": value} for key, value in zip(parameters, point, strict=True)}
        variables = create_sweep_command_args({"args": args}) | {"env": ["/usr/bin/env"]}
        words: list[str] = []
        for chunk in create_sweep_command(list(sweep["command"])):
            macro = chunk.removeprefix("${").removesuffix("}") if chunk.startswith("${") else ""
            words += variables[macro] if macro else [chunk]
        found.append(words)
    return found


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "words",
    [
        ["experiment=quickstart", "seed=range(0,2)", "pooling=max,avg"],
        ["pooling=max", "dataset=digits", "seed=3"],
        ["pooling=avg_topk", "pooling.downsample.k=1,2", "protocol.optimizer.weight_decay=1e-3,0.5"],
        ["pooling.downsample._target_=torch.nn.MaxPool2d,torch.nn.AvgPool2d", "+trainer.max_steps=10"],
    ],
)
def test_the_grid_is_the_hydra_sweep(tmp_path: Path, words: list[str]) -> None:
    sweep = written(tmp_path, *words)
    assert sweep["method"] == "grid"
    whole = [job.config for job in compose(CommandLine.of("train", [*words, "logger=wandb"]))]
    single = []
    for call in calls(sweep):
        assert call[:3] == ["/usr/bin/env", "poolbench", "train"]
        (job,) = compose(CommandLine.of("train", call[3:]))
        single.append(job.config)
    key = repr
    assert sorted(map(key, single)) == sorted(map(key, whole))


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_an_agents_command_trains_its_cell_as_the_run_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent gives the run its id; the record's stands in the summary, and a report is left to the sweep's end."""
    sweep = written(tmp_path, *SHORT, "pooling=max,avg", f"results_dir={tmp_path}/results")
    first, second = calls(sweep)
    assert first != second
    assert "logger=wandb" in second
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    for name, value in (("SWEEP_ID", "s1"), ("RUN_ID", "given0by0sweep"), ("MODE", "offline")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    done = subprocess.run(second, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "adhoc"
    ((key, record),) = records(folder).items()
    assert key == "avg/0"
    ((run_id, run),) = read_runs(folder).items()
    assert run_id == "given0by0sweep"
    assert run.run["sweep_id"] == "s1"
    assert run.summary["run_id"] == record["run_id"]
    assert run.summary["test_accuracy"] == record["metrics"]["test_accuracy"]


@pytest.mark.slow
def test_an_experiment_of_several_grids_is_a_sweep_for_each(tmp_path: Path, capsys: Any) -> None:
    words = ["experiment=heads", "seed=0", "pooling=max,gap"]
    assert main(["wandb-sweep", *words, "--into", str(tmp_path / "sweep.yaml")]) == 0
    sweeps = [yaml.safe_load(path.read_text()) for path in sorted(tmp_path.glob("sweep-*.yaml"))]
    assert len(sweeps) == len(capsys.readouterr().out.splitlines()) == 2
    single = []
    for call in itertools.chain.from_iterable(map(calls, sweeps)):
        (job,) = compose(CommandLine.of("train", call[3:]))
        single.append(job.config)
    whole = [job.config for job in compose(CommandLine.of("train", words))]
    cells = [
        [repr([config.get(group) for group in (*GROUPS, "seed")]) for config in found] for found in (single, whole)
    ]
    assert sorted(cells[0]) == sorted(cells[1])


def test_the_words_of_train_are_taken_flags_among_them(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "ours.yaml").write_text("# Ours.\ndownsample: {_target_: torch.nn.MaxPool2d}\n")
    words = ["-m", "--config-dir", str(tmp_path), "pooling=ours,avg", "seed=0"]
    sweep = written(tmp_path, *words)
    assert sweep["parameters"] == {"pooling": {"values": ["ours", "avg"]}}
    assert sweep["command"][2:5] == ["train", "--config-dir", str(tmp_path)]
    assert [compose(CommandLine.of("train", call[3:]))[0].choices["pooling"] for call in calls(sweep)] == [
        "ours",
        "avg",
    ]
    assert main(["wandb-sweep", "pooling=max", "--cfg", "job"]) == 2
    assert "--cfg asks for no cell" in capsys.readouterr().err
    for word in ("until=decided", "tune=4"):
        assert main(["wandb-sweep", "pooling=max,avg", word]) == 2
        assert "looks at all cells of a sweep together" in capsys.readouterr().err


def test_it_is_named_and_its_use_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["wandb-sweep", "experiment=quickstart"]) == 0
    assert capsys.readouterr().out == (
        "wandb-sweep-quickstart.yaml: 60 cells; start it with: wandb sweep wandb-sweep-quickstart.yaml\n"
    )
    sweep = yaml.safe_load((tmp_path / "wandb-sweep-quickstart.yaml").read_text())
    assert sweep["name"] == "quickstart"
    assert sweep["parameters"] == {
        "dataset": {"values": ["digits", "translated_digits"]},
        "pooling": {"values": ["max", "avg", "strided_conv", "gap", "adaptive", "avg_topk"]},
        "seed": {"values": [0, 1, 2, 3, 4]},
    }
    assert main(["wandb-sweep", "experiment=quickstrat"]) == 2
    assert "did you mean quickstart" in capsys.readouterr().err
