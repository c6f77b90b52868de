"""The C library's allocator: what can be set is in force, and nothing is set by an import."""

import subprocess
import sys

import pytest

from poolbench.errors import ConfigurationError
from poolbench.measure import allocator as subject
from poolbench.measure.allocator import Allocator


def test_an_unknown_allocator_is_named() -> None:
    with pytest.raises(ConfigurationError, match="did you mean keep"):
        Allocator().set("keeep")


def test_what_cannot_be_set_is_not_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_has_glibc", lambda: False)
    allocator = Allocator()
    assert allocator.set("keep") == allocator.in_force == "system"


def test_the_import_sets_nothing_and_needs_no_torch() -> None:
    """In a process of its own: the allocator of this one should stay as it is."""
    script = """
import sys
from pathlib import Path
from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.machine import machine, revision
print(ALLOCATOR.in_force, ALLOCATOR.set("system"), ALLOCATOR.set("keep"), ALLOCATOR.set("system"))
machine(), revision(Path("."))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    words, torch_loaded = done.stdout.splitlines()
    expected = "keep" if subject._has_glibc() else "system"
    assert words.split() == ["system", "system", expected, expected]
    assert torch_loaded == "False"
