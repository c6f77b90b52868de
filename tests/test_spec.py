"""Specifications: dotted paths, arguments checked before anything is called."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from poolbench.errors import ConfigurationError
from poolbench.spec import bind, build, locate


class Thing:
    def __init__(self, channels: int, *, k: int = 1, inner: object = None) -> None:
        self.channels, self.k, self.inner = channels, k, inner


HERE = f"{Thing.__module__}.Thing"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, Thing.__module__, sys.modules[__name__])


def test_context_goes_where_it_is_taken_and_the_specification_wins() -> None:
    thing = build({"_target_": HERE, "k": 3}, {"channels": 4, "k": 2, "unknown": 0}, where="here")
    assert (thing.channels, thing.k) == (4, 3)


def test_a_specification_may_hold_another() -> None:
    thing = build({"_target_": HERE, "inner": {"_target_": HERE, "k": 5}}, {"channels": 4}, where="here")
    assert (thing.inner.k, thing.inner.channels) == (5, 4)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as told:
        bind({"_target_": HERE, "kk": 1, "other": 2}, where="pooling.downsample")
    text = str(told.value)
    assert "`pooling.downsample`" in text
    assert "unknown argument 'kk'; did you mean k?" in text
    assert "unknown argument 'other'" in text
    assert "missing argument 'channels'" in text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("fractions.Fractoin", "did you mean Fraction"),
        ("no_such_package.Thing", "no module named 'no_such_package'"),
        ("fractions", "must be a dotted path"),
        (3, "must be a dotted path"),
        ("math.pi", "not a class or function"),
        ("fractions.Fractoin.Thing", "`_target_` in fractions: unknown name 'Fractoin'|did you mean Fraction"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        locate(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def wrong(:\n", r"SyntaxError: .*broken_module.py:1\)"),
        ("x = 1\ny = unknown\n", r"NameError: name 'unknown' is not defined \(.*broken_module.py:2\)"),
    ],
)
def test_a_module_that_cannot_be_imported_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    (tmp_path / "broken_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=says):
        locate("broken_module.Thing")


def test_without_target() -> None:
    with pytest.raises(ConfigurationError, match="needs `_target_`"):
        build({"k": 1}, where="pooling.head")


@pytest.mark.parametrize("array", [numpy.array([2, 2]), numpy.eye(2, dtype=int), torch.tensor([2, 2])], ids=str)
@pytest.mark.parametrize(
    ("target", "argument"),
    [("AvgTopKPool2d", "kernel_size"), ("AvgTopKPool2d", "padding"), ("AvgTopKPool2d", "k"), ("MaxPool1d", "stride")],
)
def test_an_array_is_no_number_and_is_shown_on_one_line(array: Any, target: str, argument: str) -> None:
    given = {"kernel_size": 2, "k": 1} if target == "AvgTopKPool2d" else {"kernel_size": 2}
    with pytest.raises(ConfigurationError) as raised:
        build({"_target_": f"poolbench.pooling.{target}", **given, argument: array}, where="pooling")
    message = str(raised.value)
    assert f"`{argument}` must be " in message
    assert message.endswith(f"got {' '.join(repr(array).split())}")
    assert "\n" not in message
