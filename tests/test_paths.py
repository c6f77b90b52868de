"""Paths of a user whose home nobody knows: an error of the argument, whichever it is."""

from pathlib import Path

import pytest

from poolbench.cli import main

NOBODY = "~no_such_user/x"


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("command", "argument"),
    [
        (["train", "dataset=image_folder", f'dataset.root="{NOBODY}"'], "`dataset.root`"),
        (["train", "dataset=cifar10", f'dataset.root="{NOBODY}"'], "`dataset.root`"),
        *(
            (["train", f"dataset={name}", f'dataset.root="{NOBODY}"'], "`dataset.root`")
            for name in ("mask_folder", "codon", "sequence_folder", "sound_folder", "ucr")
        ),
        (["train", f'results_dir="{NOBODY}"'], "`results_dir`"),
        (["inspect", "backbone=torchvision", "backbone.model=resnet18", f'backbone.weights="{NOBODY}"'], "`backbone."),
        (["inspect", f"--json={NOBODY}"], "argument --json"),
        (["cost", f"--csv={NOBODY}"], "argument --csv"),
        (["bench", "max", f"--csv={NOBODY}"], "argument --csv"),
        (["report", NOBODY], "argument folder"),
        (["report", "a", NOBODY], "argument other"),
        (["status", NOBODY], "argument folder"),
        (["work", NOBODY], "argument folder"),
        (["test", "a", "--results-dir", NOBODY], "argument --results-dir"),
        (["export", "a", "--results-dir", NOBODY], "argument --results-dir"),
        (["power", NOBODY], "`SOURCE`"),
        (["serve", NOBODY], "argument folder"),
        (["dashboard", NOBODY], "`EXPERIMENT`"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_home_that_nobody_knows(
    command: list[str],
    argument: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(command)
    except SystemExit as ended:  # argparse's way out
        status = ended.code  # type: ignore[assignment]
    assert status == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert argument in line
    assert (
        f"must be a path whose `~` can be expanded, but that home is unknown: write it out, or set HOME; got '{NOBODY}'"
        in line
    )
    assert list(tmp_path.iterdir()) == []
