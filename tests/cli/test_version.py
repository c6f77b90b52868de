"""`poolbench --version`, and what a shell completes."""

import shutil
import subprocess
from importlib.metadata import version

import pytest

from poolbench.cli import choices, main


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"poolbench {version('poolbench')}\n"


COMPLETE = """{script}
COMP_WORDS=({words}); COMP_CWORD={at}; _poolbench; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("poolbench tr", {"train"}),
        ("poolbench train pooling=avg_t", {"pooling=avg_topk"}),
        ("poolbench train dataset=", {f"dataset={name}" for name in choices.names("dataset")}),
        ("poolbench train results_d", {"results_dir="}),
    ],
)
def test_a_shell_completes_commands_and_choices(
    capsys: pytest.CaptureFixture[str], words: str, expected: set[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out.replace("compopt", "true compopt")  # there is no completion going on
    bash = shutil.which("bash")
    assert bash
    program = COMPLETE.format(script=script, words=words, at=len(words.split()) - 1)
    done = subprocess.run([bash, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
