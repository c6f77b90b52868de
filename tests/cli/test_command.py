"""The command line before anything heavy is loaded: help, lists, mistakes, and how fast they answer."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from poolbench.cli import choices, main
from poolbench.cli.command_line import CommandLine
from poolbench.errors import ConfigurationError
from poolbench.paths import conf_dir


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "poolbench", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_list_shows_the_choices_of_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "mine.yaml").write_text("# a pooling of mine\nname: mine\n")
    assert main(["list", "pooling", "--config-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines if line.startswith("mine")] == [["mine", "a pooling of mine"]]
    assert any(line.startswith("max ") for line in lines)
    assert main(["list", "pooling", "--config-dir", str(tmp_path / "absent")]) == 2


def test_a_shell_completes_every_choice_and_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    found = re.findall(r'compgen -W "([^"]*)"', capsys.readouterr().out)
    (commands, words) = (one.split() for one in found)
    assert {"train", "wandb-sweep", "completion"} <= set(commands)
    config = (conf_dir() / "config.yaml").read_text()
    keys = re.findall(r"^(\w+):", config, re.MULTILINE)
    assert {"until", "tune", "retry", "speed"} <= set(keys)
    speed = [f"speed.{key}=" for key in re.findall(r"^  (\w+):", config.partition("\nspeed:")[2], re.MULTILINE)]
    assert [word for word in words if word.endswith("=")] == [f"{key}=" for key in keys if key != "defaults"] + speed
    assert {f"pooling={name}" for name in choices.names("pooling")} <= set(words)


@pytest.mark.parametrize("command", ["report", "status", "work", "serve", "wandb-sync"])
def test_a_results_folder_that_is_not_there_is_answered_with_the_nearest(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for inside in ("records", "plan"):
        (tmp_path / "results" / "quickstart" / inside).mkdir(parents=True)
    (tmp_path / "results" / "note").touch()
    cases = {
        "quickstrat": "there is no results folder {}: unknown results 'quickstrat'; did you mean quickstart?",
        "note": "the results folder {} is a file; give the folder that holds",
        "no/where": "there is no results folder {}, nor its parent ",
    }
    for name, says in cases.items():
        path = tmp_path / "results" / name
        assert main([command, str(path)]) == 2
        assert says.format(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["list", "pooling", "--config-dir"], ["train", "-cd"], ["cost", "--config-dir"], ["wandb-sweep", "-cd"]),
        *(["bench", "backbone=slides", "--config-dir"], ["inspect", "--config-path"]),
    ],
)
def test_a_folder_of_configurations_that_is_not_there_is_named_with_its_flag(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = "--config-path" if "--config-path" in arguments else "--config-dir"
    (tmp_path / "file").touch()
    for name, found in (("absent", "nothing"), ("file", "a file")):
        assert main([*arguments, str(tmp_path / name)]) == 2
        says = f"{flag} must be a folder of configurations, which holds one for each group, as conf/ does"
        said = capsys.readouterr().err
        assert says in said
        assert f"got '{tmp_path / name}', where there is {found}" in said


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["list"], ["list", "pooling"]])
def test_help_and_lists_answer_with_zero(arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(done.stdout) > 100


def test_no_heavy_import_on_the_way_to_help_lists_and_wrong_names() -> None:
    code = (
        "import sys; from poolbench.cli import main\n"
        "for argv in (['list'], ['train', 'pooling=maxx'], ['report'], ['completion', 'bash']):\n"
        "    try: main(argv)\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'hydra', 'pandas', 'numpy', 'wandb'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "backbone=slide"], "unknown backbone 'slide'; did you mean slides"),
        (["train", "pooling=max,avgg"], "unknown pooling 'avgg'; did you mean avg"),
        (["train", "dataset=cifar"], "did you mean cifar10"),
        (["train", "experiment=quick"], "did you mean quickstart"),
        (["train", "+head=gapp"], "did you mean gap"),
        (["train", "--cfg"], "--cfg needs a value"),
        (["list", "poolings"], "did you mean pooling"),
        (["bench", "maxx"], "did you mean max"),
        (["report", "results/nowhere"], "results/nowhere"),
    ],
)
def test_a_wrong_name_is_a_usage_error_that_names_the_nearest(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["cost", "--batchsize=2"], "--batch-size"),
        (["inspect", "--jso"], "--json"),
        (["wandb-sweep", "--in"], "--into"),
        (["train", "--config"], "--config-dir"),
        (["status", "x", "--jsom"], "--json"),
        (["bench", "--devices"], "--device"),
        (["report", "x", "--sgv"], "--svg"),
    ],
)
def test_an_unknown_flag_is_answered_with_those_that_the_command_has(
    arguments: list[str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(arguments)
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr().err
    assert status == 2
    assert names in said
    assert arguments[-1].partition("=")[0] in said


def test_unknown_command_and_none() -> None:
    assert command("trian").returncode == 2
    assert command().returncode == 2


@pytest.mark.parametrize(
    ("given", "flags", "overrides"),
    [
        (["a=1", "-m", "b=2"], [], ["a=1", "b=2"]),
        (["--multirun", "a=1,2"], [], ["a=1,2"]),
        (["a=1", "--config-dir", "mine", "-m"], ["--config-dir", "mine"], ["a=1"]),
        (["~logger", "hydra/launcher=joblib", "--cfg", "job"], ["--cfg", "job"], ["~logger", "hydra/launcher=joblib"]),
    ],
)
def test_flags_may_stand_anywhere(given: list[str], flags: list[str], overrides: list[str]) -> None:
    line = CommandLine.of("train", given)
    assert (list(line.flags), list(line.overrides)) == (flags, overrides)


def test_every_choice_says_what_it_is() -> None:
    silent = [
        f"{group}/{name}"
        for group in choices.GROUPS
        for name, path in choices.names(group).items()
        if not choices.describe(path)
    ]
    assert silent == []


def test_names_of_ones_own_folder_count(tmp_path: Path) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "mine.yaml").write_text("# mine\nname: mine\n")
    choices.check(["pooling=mine,max"], [tmp_path])
    with pytest.raises(ConfigurationError, match="unknown pooling 'mine'"):
        choices.check(["pooling=mine"])


def test_what_is_hydras_to_read_is_left_to_it() -> None:
    choices.check(["pooling=glob(*)", "backbone=choice(slides,lenet5)", "seed=range(0,3)", "pooling='max'"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["pooling=[max,avg]"], "`pooling` takes one name at a time, got .* write pooling=max,avg"),
        (["reference_backbone=slide"], "unknown backbone 'slide'; did you mean slides"),
    ],
)
def test_what_would_quietly_be_another_sweep_is_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        choices.check(overrides)
    choices.check(["logger=[csv,wandb]", "reference_backbone=slides"])
