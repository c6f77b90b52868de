"""Specifications out of conf/, networks made of them, and custom modules on the path."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from backbones.shapes import output_for

from poolbench.backbones import Assembled
from poolbench.backbones import assemble as assemble_specs
from poolbench.paths import conf_dir

Spec = dict[str, Any]


@pytest.fixture(scope="session")
def conf() -> Callable[..., Spec]:
    """Return a specification of conf/ by group and name, with arguments changed."""

    def read(group: str, name: str, **changes: Any) -> Spec:
        return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text()) | changes

    return read


@pytest.fixture(scope="session")
def assemble(conf: Callable[..., Spec]) -> Callable[..., Assembled]:
    """Assemble what is given by name in conf/ or as a specification, for images of `shape` in 10 classes."""

    def call(
        backbone: str | Spec,
        pooling: str | Spec,
        head: str | Spec | None = None,
        *,
        shape: tuple[int, ...] = (3, 32, 32),
        num_classes: int = 10,
        seed: int = 0,
    ) -> Assembled:
        name = backbone if isinstance(backbone, str) else str(backbone.get("name"))
        return assemble_specs(
            conf("backbone", backbone) if isinstance(backbone, str) else backbone,
            conf("pooling", pooling) if isinstance(pooling, str) else pooling,
            conf("head", head) if isinstance(head, str) else head,
            in_channels=shape[0],
            image_size=shape[1:],
            num_classes=num_classes,
            seed=seed,
            output_shape=output_for(name, num_classes, shape),
        )

    return call


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: Iterator[int]) -> Callable[[str], str]:
    """Write a module of the user's, importable for the length of the test, and return its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        name = f"own_module_{next(numbers)}"  # imports are remembered from test to test
        head = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n"
        (tmp_path / f"{name}.py").write_text(head + source)
        return name

    return write
