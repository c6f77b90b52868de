"""Operators are torch and nothing else: importing and using them loads no other part, and no other package."""

import subprocess
import sys

import pytest

# The rest of the project, what only it needs, and what makes kernels.
HEAVY = ("hydra", "omegaconf", "lightning", "wandb", "pandas", "torchvision", "torchmetrics", "matplotlib", "scipy")
IMPORT = "from poolbench.pooling import AvgTopKPool2d"


def loaded_by(program: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after a program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def imported() -> set[str]:
    return loaded_by(IMPORT)


def test_importing_an_operator_loads_only_torch(imported: set[str]) -> None:
    assert "torch" in imported
    assert not imported & {*HEAVY, "llvmlite"}


def test_importing_an_operator_loads_no_other_part_of_the_project(imported: set[str]) -> None:
    parts = {name.split(".")[1] for name in imported if name.startswith("poolbench.")}
    assert parts <= {"kernels", "pooling"}


@pytest.mark.slow
def test_what_torch_computes_needs_no_compiler() -> None:
    use = "import torch; AvgTopKPool2d(2, k=2, implementation='torch')(torch.zeros(1, 1, 4, 4))"
    assert "llvmlite" not in loaded_by(f"{IMPORT}\n{use}")


@pytest.mark.slow
def test_what_kernels_compute_loads_the_compiler_and_no_more(imported: set[str]) -> None:
    use = "import torch; AvgTopKPool2d(2, k=2)(torch.zeros(1, 1, 4, 4))"
    found = loaded_by(f"{IMPORT}\n{use}")
    assert "llvmlite" in found
    assert not found & set(HEAVY)
