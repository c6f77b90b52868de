"""The import contracts of pyproject.toml name what there is: a module that is added is not forgotten."""

import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "src" / "poolbench"
CONTRACTS = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
MODULES = {f"poolbench.{path.stem}" for path in PACKAGE.glob("[!_]*.py")} | {
    f"poolbench.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")
}


def test_kernels_may_import_no_other_module() -> None:
    (contract,) = [one for one in CONTRACTS if one["name"].startswith("Kernels")]
    assert set(contract["forbidden_modules"]) == MODULES - {"poolbench.kernels"}


def test_every_module_has_its_layer() -> None:
    (contract,) = [one for one in CONTRACTS if one["type"] == "layers"]
    assert {name for layer in contract["layers"] for name in layer.split(" | ")} == MODULES
