"""From arguments to composed jobs: sweeps, experiments, further folders, and what is wrong in them."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import poolbench
from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import Job, answered_by_hydra, compose, composing
from poolbench.cli.labels import described
from poolbench.cli.sources import Sources, varies, yaml_files
from poolbench.errors import ConfigurationError
from poolbench.paths import conf_dir

LINE = CommandLine.of("train", [])


def jobs(*arguments: str) -> list[Job]:
    return compose(CommandLine.of("train", arguments))


def test_a_list_and_a_range_give_a_job_for_each_pair_the_last_key_fastest() -> None:
    found = jobs("pooling=max,avg_topk", "seed=range(0,3)")
    assert [(job.choices["pooling"], job.config["seed"]) for job in found] == [
        (pooling, seed) for pooling in ("max", "avg_topk") for seed in range(3)
    ]
    assert found[3].config["pooling"]["downsample"]["k"] == 2
    assert found[3].overrides == ("pooling=avg_topk", "seed=0")
    assert found[0].folders[0] == conf_dir()


def test_an_experiments_sweep_is_narrowed_by_the_command_line() -> None:
    params = yaml.safe_load((conf_dir() / "experiment" / "quickstart.yaml").read_text())["hydra"]["sweeper"]["params"]
    found = jobs("experiment=quickstart", "seed=5", "pooling=gap")
    backbones, datasets = (params[key].split(",") for key in ("backbone", "dataset"))
    assert [(job.choices["backbone"], job.choices["dataset"]) for job in found] == [
        (backbone, dataset) for backbone in backbones for dataset in datasets
    ]
    assert {(job.config["seed"], job.choices["pooling"], job.config["name"]) for job in found} == {
        (5, "gap", "quickstart")
    }


def test_grids_are_swept_over_one_after_another_and_their_union_has_no_job_twice(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "ours.yaml").write_text(
        "# @package _global_\ngrids:\n  - pooling: max,avg\n  - {pooling: avg_topk, pooling.downsample.k: '2,3'}\n"
        "  - pooling: avg\nhydra: {sweeper: {params: {seed: 'range(0,2)'}}}\n"
    )
    given = ["experiment=ours", "--config-dir", str(tmp_path)]
    found = [
        (job.choices["pooling"], job.config["pooling"]["downsample"].get("k"), job.config["seed"])
        for job in jobs(*given)
    ]
    arms = [("max", None), ("avg", None), ("avg_topk", 2), ("avg_topk", 3)]
    assert sorted(found, key=str) == sorted([(*arm, seed) for arm in arms for seed in (0, 1)], key=str)
    # The command line narrows every grid.
    assert {job.config["seed"] for job in jobs(*given, "seed=7")} == {7}
    assert {job.choices["pooling"] for job in jobs(*given[:1], "pooling=max,avg", "grids=null", *given[1:])} == {
        "max",
        "avg",
    }
    with pytest.raises(ConfigurationError, match=r"`grids` must be a list of mappings .* got \['a'\]"):
        jobs("grids=[a]")


def test_the_last_of_two_values_counts_and_interpolations_are_resolved(tmp_path: Path) -> None:
    (one,) = jobs("seed=1", "name=x", "question=${name}?", "seed=2")
    assert (one.config["seed"], one.config["question"]) == (2, "x?")


def test_a_job_of_another_seed_is_what_composing_it_gives() -> None:
    swept = ("pooling=max,avg", "protocol.epochs=1,2", "seed=0,3,7")
    whole = {
        (job.choices["pooling"], job.config["protocol"]["epochs"], job.config["seed"]): job for job in jobs(*swept)
    }
    assert len(whole) == 12
    for (pooling, epochs, seed), job in whole.items():
        assert [job] == jobs(f"pooling={pooling}", f"protocol.epochs={epochs}", f"seed={seed}")
    one, other = whole["max", 1, 0], whole["max", 1, 3]
    assert one.config["protocol"] is not other.config["protocol"]


@pytest.mark.parametrize("interpolated", ["name=at-${seed}", "protocol.epochs=${seed}", "question=${name}${seed}"])
def test_what_a_seed_decides_is_composed_for_each_seed(interpolated: str) -> None:
    key = interpolated.partition("=")[0].split(".")
    found = []
    for job in jobs(interpolated, "seed=4,5,6"):
        value = job.config
        for part in key:
            value = value[part]
        found.append(str(value).removeprefix("at-").removeprefix("adhoc"))
    assert found == ["4", "5", "6"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("untill: decided", "unknown key 'untill'; did you mean until"),
        ("grid: [{pooling: max}]", "unknown key 'grid'; did you mean grids"),
        ("speed: {budget: 7}", "unknown key 'speed.budget'; did you mean speed.budget_s"),
        ("launcher: {worker: 2}", "unknown key 'launcher.worker'"),
    ],
)
def test_a_misspelt_key_of_an_experiment_is_refused(tmp_path: Path, wrong: str, says: str) -> None:
    place = tmp_path / "experiment"
    place.mkdir()
    (place / "own.yaml").write_text(f"# @package _global_\n{wrong}\n")
    (place / "right.yaml").write_text("# @package _global_\nrate: 0.1\nprotocol: {optimizer: {lr: '${rate}'}}\n")
    with pytest.raises(ConfigurationError, match=says):
        jobs("experiment=own", "--config-dir", str(tmp_path))
    (right,) = jobs("experiment=right", "--config-dir", str(tmp_path), "seed=1", "+tune.points=3")
    assert right.config["protocol"]["optimizer"]["lr"] == 0.1


def test_an_experiments_null_and_true_are_those_of_yaml(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    written = tmp_path / "experiment" / "own.yaml"
    written.write_text("# @package _global_\ngrids: [{pooling: max, resample: null, strict: true}]\n")
    (one,) = jobs("experiment=own", "--config-dir", str(tmp_path))
    assert (one.config["strict"], one.config["resample"]) == (True, None)
    written.write_text("# @package _global_\ngrids: [{pooling: max, head: null}, {pooling: max, head: gap}]\n")
    with pytest.raises(ConfigurationError, match="`head=null`: a head that is left out is none"):
        jobs("experiment=own", "--config-dir", str(tmp_path))


def test_what_a_pooling_looks_up_elsewhere_is_in_its_label(tmp_path: Path) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "mine.yaml").write_text(
        "name: mine\ndownsample: {_target_: poolbench.pooling.LPPool2d, norm_type: '${seed}'}\nhead: null\n"
    )
    swept = jobs("pooling=mine", "seed=2,3", "--config-dir", str(tmp_path))
    assert [one.labels["variant"] for one in described(swept, LINE)] == ["mine", "mine"]
    assert [job.config["pooling"]["downsample"]["norm_type"] for job in swept] == [2, 3]
    assert not swept[0].is_plain
    line = CommandLine.of("train", ["reference=mine", "seed=2,3", "--config-dir", str(tmp_path)])
    found = [asked.reference["downsample"]["norm_type"] for asked in described(compose(line), line)]
    assert found == [2, 3]


def test_a_change_of_a_linked_experiment_is_another_source(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "conf" / "experiment").symlink_to(tmp_path / "experiments")
    own = tmp_path / "experiments" / "own.yaml"
    found = []
    for epochs in (1, 5):
        own.write_text(f"# @package _global_\nprotocol: {{epochs: {epochs}}}\n")
        with composing(CommandLine.of("train", ["experiment=own", "--config-dir", str(tmp_path / "conf")])) as composer:
            job = composer.job(composer.overrides[0])
            found.append(Sources.of(composer, job.folders).source(composer.overrides[0]))
    assert found[0] != found[1]
    assert conf_dir() / "experiment" / "quickstart.yaml" in yaml_files(conf_dir())


def test_what_is_looked_up_for_the_whole_sweep_is_composed_for_every_job() -> None:
    for name, of_whole in (("plain", False), ("'${pooling.name}'", True)):
        with composing(CommandLine.of("train", ["pooling=max,avg", f"name={name}"])) as composer:
            assert varies(composer, composer.job(composer.overrides[0])) is of_whole


def test_the_reference_of_an_experiment_is_known_where_a_part_of_it_is_asked_for() -> None:
    line = CommandLine.of("train", ["experiment=t_max_avg", "grids=null", "pooling=avg", "seed=0"])
    (asked,) = described(compose(line), line)
    assert asked.reference["downsample"]["kernel_size"] == 3
    wrong = replace(line, overrides=(*line.overrides, "reference=maxx"))
    with pytest.raises(ConfigurationError, match="unknown reference 'maxx'; did you mean max"):
        described(compose(wrong), wrong)


def test_experiments_are_not_swept_over() -> None:
    with pytest.raises(ConfigurationError, match="`experiment` takes one name at a time, got experiment=quickstart,"):
        jobs("experiment=quickstart,verdict")


def test_what_a_yaml_interpolates_is_looked_up_in_each_job(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {question: 'of ${seed}', seed: '1,2'}}}\n"
        "grids: [{pooling: max, expected: '${pooling.name}'}, {pooling: avg, expected: '${pooling.name}'}]\n"
    )
    swept = jobs("experiment=own", "--config-dir", str(tmp_path))
    assert [(job.config["question"], job.config["expected"]) for job in swept] == [
        ("of 1", "max"),
        ("of 2", "max"),
        ("of 1", "avg"),
        ("of 2", "avg"),
    ]


def test_a_task_is_set_plainly_whether_the_yaml_names_one_or_not() -> None:
    named = ("dataset.task._target_=own.Task", "dataset.task.least=0,1")
    assert [job.config["dataset"]["task"] for job in jobs("dataset=digits", *named)] == [
        {"_target_": "own.Task", "least": 0},
        {"_target_": "own.Task", "least": 1},
    ]
    (short,) = jobs("dataset=digits", "task=regression")
    assert short.config["dataset"]["task"] == "regression"
    (changed,) = jobs("dataset=line", "task.loss=huber", "dataset.task.most=2")
    kept = {"_target_": "poolbench.tasks.Regression", "loss": "huber", "least": -1, "most": 2}
    assert changed.config["dataset"]["task"] == kept


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "my conf, ü=1"
    (folder / "pooling").mkdir(parents=True)
    for name in ("mine", "minor"):
        (folder / "pooling" / f"{name}.yaml").write_text(f"# mine\nname: {name}\ndownsample: null\nhead: null\n")
    return folder


def test_a_further_folder_serves_names_globs_and_labels(mine: Path) -> None:
    found = jobs("pooling=glob(min*)", "--config-dir", str(mine))
    assert [asked.labels["variant"] for asked in described(found, LINE)] == ["min", "mine", "minor"]
    assert found[1].folders[-1] == mine
    with pytest.raises(ConfigurationError, match="unknown pooling 'mine'"):
        jobs("pooling=mine")


def test_a_search_path_of_the_command_line_goes_with_it(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "pooling").mkdir(parents=True)
    (tmp_path / "other" / "pooling" / "third.yaml").write_text("name: third\ndownsample: null\nhead: null\n")
    arguments = ("pooling=mine,third", f"hydra.searchpath=[{tmp_path}/other]", "--config-dir", str(mine))
    assert [job.config["pooling"]["name"] for job in jobs(*arguments)] == ["mine", "third"]


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sead=1"], "unknown key 'sead'; did you mean seed"),
        (["+poolin=max"], "unknown key 'poolin'; did you mean pooling"),
        (["++speed.budget=1"], "unknown key 'speed.budget'; did you mean speed.budget_s"),
        (
            ["launcher.workers=2"],
            "`launcher.workers`: not every launcher that is asked for has `workers`; processes, slurm",
        ),
        (["+launcher.workers=2"], "`launcher.workers`: not every launcher that is asked for has `workers`"),
        (["pooling=avg_topk,max", "pooling.downsample.k=2"], "avg_topk, t_max_avg have it: `grids`"),
        (["protocol.epoch=2"], "did you mean protocol.epochs"),
        (["backbone=allcnn", "backbone.widht=2"], "did you mean backbone.width"),
        (["protocol=sgd,keras", "protocol.optimizer.momentun=0.5"], "did you mean protocol.optimizer.momentum"),
        (["~protocol.epoch"], "did you mean protocol.epochs"),
        (["seed=range(0)"], "`seed=range(0)` gives no value"),
        (["pooling=glob(none*)"], "`pooling=glob(none*)` gives no value"),
        (["poolin=glob(*)"], "unknown group 'poolin'; did you mean pooling"),
        (["seed=interval(0,1)"], "an interval has no list of values"),
        (["seed=range(0"], "range(0"),
        (["pooling=null"], "`pooling=null`: one must be chosen"),
        (["question=${nowhere}"], "`question`: Interpolation key 'nowhere' not found"),
        (["+dataset.more=???"], "`dataset.more` must be given: dataset.more=VALUE"),
        (["hydra/launcher=joblib"], "launcher=processes or launcher=slurm"),
        (["hydra.launcher.n_jobs=2"], "launcher.KEY=VALUE"),
        (["hydra/sweeper=basic"], "swept over by poolbench itself"),
        (["hydra.sweep.dir=x"], "results_dir"),
        (["hydra.verbose=true"], "does nothing here"),
        (["--config-dir", "nowhere"], "nowhere"),
        (["--confg-dir", "x"], "did you mean --config-dir"),
        (["--resolve"], "goes with --cfg"),
    ],
)
def test_a_mistake_is_one_line_with_what_would_be_right(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        jobs(*arguments)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_hydra_answers_what_it_answers_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    line = CommandLine.of("train", ["seed=3", "--cfg", "job", "--package=protocol", "-m"])
    assert line.is_hydras
    assert answered_by_hydra(line) == 0
    shown = yaml.safe_load(capfd.readouterr().out)
    assert shown["epochs"] == yaml.safe_load((conf_dir() / "protocol" / "default.yaml").read_text())["epochs"]
    assert answered_by_hydra(CommandLine.of("train", ["--info", "searchpath", "seed=1"])) == 0
    assert str(conf_dir()) in capfd.readouterr().out
    with pytest.raises(ConfigurationError, match="sead"):
        answered_by_hydra(CommandLine.of("train", ["sead=3", "-c", "job"]))


def test_hydra_is_as_it_was_and_only_its_public_part_is_used() -> None:
    from hydra.core.global_hydra import GlobalHydra

    jobs("seed=1")
    assert not GlobalHydra.instance().is_initialized()
    imported = {
        name
        for path in Path(poolbench.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert [name for name in imported if name.startswith("hydra") and "_internal" in name] == []
