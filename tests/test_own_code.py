"""Which of the user's own files stand for a cell: every module that its classes import, and nothing else."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from poolbench.own_code import own_code

POOL = "import torch\n\n\nclass Pool(torch.nn.Module):\n    pass\n"


USES_HELPERS = """
import importlib
import json, torch, numpy
import oc_plain
import oc_deep as other
from oc_from import half


class Pool(torch.nn.Module):
    def forward(self, x):
        import oc_late

        importlib.import_module("oc_named")
        return x
"""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write files of a folder on the Python path; what was imported from it is forgotten again."""
    monkeypatch.syspath_prepend(tmp_path)

    def files(**content: str) -> None:
        for name, text in content.items():
            path = tmp_path / (name.replace("__slash__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    yield files
    for name in [name for name in sys.modules if name.startswith("oc_")]:
        del sys.modules[name]


def of(*targets: str) -> dict[str, str]:
    return own_code({"backbone": {"parts": [{"_target_": target} for target in targets]}})


def test_a_file_without_imports_of_its_own_is_what_it_always_was(write: Any) -> None:
    write(oc_pool=POOL)
    assert of("oc_pool.Pool") == {"oc_pool.Pool": digest(POOL)}


def test_what_is_installed_or_poolbenchs_is_not_there() -> None:
    assert (
        of("torch.nn.MaxPool2d", "poolbench.pooling.AvgPool2d", "collections.OrderedDict", "fractions.Fraction") == {}
    )


def test_helpers_are_followed_however_they_are_imported(write: Any) -> None:
    helpers = {
        "oc_plain": "X = 1\n",
        "oc_from": "def half(x):\n    return x / 2\n",
        "oc_late": "Y = 2\n",
        "oc_named": "Z = 3\n",
        "oc_deep": "import oc_deeper\n",
        "oc_deeper": "W = 4\n",
    }
    write(oc_user=USES_HELPERS, oc_bystander="V = 5\n", **helpers)
    found = of("oc_user.Pool")
    assert found == {"oc_user.Pool": digest(USES_HELPERS)} | {name: digest(text) for name, text in helpers.items()}
    assert "oc_late" not in sys.modules  # found without importing it


def test_packages_relative_imports_and_modules_that_import_each_other(write: Any) -> None:
    write(
        oc_pkg__slash____init__="VERSION = 1\n",
        oc_pkg__slash__sub__slash____init__="",
        oc_pkg__slash__sub__slash__pool="from .. import base\nfrom ..tools.sums import total\nfrom . import near\n"
        + POOL,
        oc_pkg__slash__sub__slash__near="from oc_pkg.sub import pool\n",
        oc_pkg__slash__base="",
        oc_pkg__slash__tools__slash____init__="",
        oc_pkg__slash__tools__slash__sums="total = 1\n",
        oc_pkg__slash__unused="U = 1\n",
    )
    assert set(of("oc_pkg.sub.pool.Pool")) == {
        "oc_pkg.sub.pool.Pool",
        "oc_pkg",
        "oc_pkg.sub.near",
        "oc_pkg.tools.sums",
    }  # an empty file says nothing


def test_a_class_handed_on_by_another_module_counts_with_both(write: Any) -> None:
    write(oc_impl=POOL, oc_front="from oc_impl import Pool\n", oc_alias="from torch.nn import MaxPool2d as Pool\n")
    assert of("oc_front.Pool") == {"oc_front.Pool": digest(POOL), "oc_front": digest("from oc_impl import Pool\n")}
    assert set(of("oc_alias.Pool")) == {"oc_alias"}


def test_code_that_was_put_into_a_module_by_hand_is_followed(write: Any) -> None:
    write(oc_star="def f():\n    return 1\n", oc_taker="from oc_star import *\n" + POOL)
    assert set(of("oc_taker.Pool")) == {"oc_taker.Pool", "oc_star"}


def test_the_same_edit_is_the_same_digest_whatever_was_imported_before(write: Any) -> None:
    write(oc_lazy="L = 1\n", oc_main=POOL + "    def forward(self, x):\n        import oc_lazy\n        return x\n")
    before = of("oc_main.Pool")
    __import__("oc_lazy")
    assert of("oc_main.Pool") == before
    write(oc_lazy="L = 2\n")
    assert of("oc_main.Pool") != before
