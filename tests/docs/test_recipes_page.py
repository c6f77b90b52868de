"""The page of further recipes: its operator computes what it says, and its commands are ones that exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import compose
from poolbench.cli.labels import described

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS = [line for line in TEXT.splitlines() if re.match(r"poolbench (train|inspect) ", line)]


def test_the_operator_is_the_mean_of_squares_by_a_kernel() -> None:
    found = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    pool = names["MeanSquare"](3, 2, 1)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert pool.implementation_for(x)[0] == "fast"
    assert torch.allclose(pool(x), F.avg_pool2d(x * x, 3, 2, 1, count_include_pad=False))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes_with_its_reference(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    line = CommandLine.of(name, arguments)
    jobs = compose(line)
    assert len(described(jobs, line)) == len(jobs) >= 1
