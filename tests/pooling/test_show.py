"""An operator at every stage, as `python -m poolbench.pooling.show` prints it."""

import re

import pytest

from poolbench.errors import ConfigurationError
from poolbench.pooling import AvgPool2d, MedianPool2d, MixedPool2d
from poolbench.pooling.show import STAGES, main, operator_of, operators, shown


def test_every_stage_of_an_average(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["avg"]) == 0
    text = capsys.readouterr().out
    assert [line.strip("= ") for line in text.splitlines() if line.startswith("====")] == list(STAGES)
    assert "return mean(window)" in text
    assert "%0 = tap 0\n%1 = tap 1\n%2 = add %0 %1\n" in text
    # (1 + 2) / 2 and (3 + 4) / 2; each value gets half.
    assert "result    [[1.5, 3.5]]" in text
    assert "gradient  [[0.5, 0.5, 0.5, 0.5]]" in text
    assert 'define void @"part_shown"' in text
    assert "@triton.jit\ndef kernel(" in text


def test_numbers_that_stand_in_lines_are_those_of_lines_before() -> None:
    pool = MixedPool2d((1, 2))
    seen: set[str] = set()
    for stage in ("graph", "derivative"):
        for line in shown(pool, stage).splitlines():
            made, *used = re.findall(r"%\d+", line)
            assert set(used) <= seen, line
            seen.add(made)
    assert "gradient of param 0: " in shown(pool, "derivative")


def test_at_a_border_values_have_conditions() -> None:
    pool = AvgPool2d((1, 2), padding=(0, 1))
    assert "valid" not in shown(pool, "tape")
    assert "valid 0" in shown(pool, "tape", border=True)


@pytest.mark.slow
@pytest.mark.parametrize("border", [False, True])
def test_every_formula_can_be_shown(border: bool) -> None:
    found = 0
    for name in operators():
        try:
            operator = operator_of(name, (2, 2), border=border)
        except ConfigurationError:  # it is no formula
            continue
        found += 1
        assert all(shown(operator, stage, border=border) for stage in STAGES)
    assert found > 15


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["softpol"], "no operator 'softpol'; there are"),
        (["spectral"], "spectral with a window of (1, 2) is no formula"),
    ],
)
def test_what_cannot_be_shown_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_large_window_has_no_formula() -> None:
    assert not MedianPool2d(14).programs
