"""What code a training depends on: a digest of poolbench's own source, and the versions of the packages below it."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What a weight, an audit and a cost depend on after the configuration is resolved. Reports, records and the command
# change none.
DETERMINING = (
    *("backbones", "data", "kernels", "measure", "pooling", "tasks", "training"),
    *("arms.py", "cell.py", "run/batches.py", "score.py", "spec.py", "streams.py"),
)
PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "scikit-learn", "pillow", "llvmlite", "triton")


@lru_cache
def training_code(package: Path) -> dict[str, str]:
    """Return what must be equal where a training is to go on as it began: `code`, a digest, and versions by package.

    `package` is the folder of poolbench's own code. Read once in a process: what runs is the code of its start.
    """
    digest = hashlib.sha256()
    for part in DETERMINING:
        top = package / part
        for file in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            digest.update(f"{file.relative_to(package).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return {"code": digest.hexdigest()[:16], **installed(PACKAGES)}


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed: a part that is not used need not be."""
    return {name: found for name in packages if (found := _version(name))}


@lru_cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
