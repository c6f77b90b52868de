"""The user's own code behind a configuration: every module that is imported for its classes, with a digest of each.

Such code changes without its name or version changing. An installed package's is known by its version, poolbench's own
by the revision in the record. What the code reads at run time (a file of numbers, say) is not seen here.
"""

import ast
import hashlib
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from poolbench.paths import PACKAGE
from poolbench.spec import TARGET, locate

DIGITS = 16
INSTALLED = ("site-packages", "dist-packages")


def own_code(config: Any) -> dict[str, str]:
    """Return a digest of each source file that is the user's own and imported for the `_target_`s in `config`.

    The file of a target is named by the target's dotted path; the files of the modules that it imports, and of those
    that these import, by the module's name.
    """
    found: dict[str, str] = {}
    seen: set[Path] = set()
    modules: list[str] = []
    for path in _targets(config):
        target = locate(path)
        file = _source_of(target)
        if file is not None and _is_own(file):
            found[path] = _digest(file)
            seen.add(file)
        modules += [_module_of(path), getattr(inspect.unwrap(target), "__module__", None) or ""]
    return found | _imported(modules, seen)


def _targets(config: Any) -> Iterator[str]:
    """Yield the dotted paths in `config` that are not of poolbench's own."""
    if isinstance(config, Mapping):
        path = config.get(TARGET)
        if isinstance(path, str) and not path.startswith("poolbench."):
            yield path
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _targets(value)


def _source_of(target: Any) -> Path | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(target))
    except TypeError:  # written in C, or an object that is no class or function
        return None
    return Path(file).resolve() if file else None


def _module_of(path: str) -> str:
    """Return the module in a dotted path: the longest beginning of it that is imported."""
    name = path
    while name and name not in sys.modules:
        name = name.rpartition(".")[0]
    return name


def _imported(names: list[str], seen: set[Path]) -> dict[str, str]:
    """Return the digests of own modules reached from modules of these names, without the files that were `seen`."""
    found: dict[str, str] = {}
    known: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if not name or name in known:
            continue
        known.add(name)
        waiting.append(name.rpartition(".")[0])  # a package's __init__ runs before its modules
        file = _file_of(name)
        if file is None or not _is_own(file):
            continue
        content = file.read_bytes()
        if file not in seen and content.strip():
            found[name] = _digest(file)
        waiting += _named_in(content, name, is_package=file.name == "__init__.py")
        waiting += _held_by(sys.modules.get(name))
    return dict(sorted(found.items()))


def _named_in(content: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the modules that a source file may import, wherever in it: absolute names, some of them of no module."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # compiled code
        return
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if base)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                dots = len(name.value) - len(name.value.lstrip("."))
                yield _absolute(name.value.lstrip("."), dots, package)


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _absolute(name: str, level: int, package: str) -> str:
    """Return the absolute name of a module that is named with `level` dots before it."""
    if level == 0:
        return name
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{name}".strip(".") if name else base


def _held_by(module: ModuleType | None) -> Iterator[str]:
    """Yield the modules whose objects a module holds, however they came there."""
    for value in list(vars(module).values()) if module else []:
        if isinstance(value, ModuleType):
            yield value.__name__
        elif inspect.isclass(value) or inspect.isfunction(value):
            yield value.__module__ or ""


def _file_of(name: str) -> Path | None:
    """Return a module's file; None for one that is built in, has none, or was not imported and cannot be found."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return Path(file).resolve() if file else None
    if _top(name) in sys.stdlib_module_names or _top(name) == PACKAGE.name:
        return None
    found = _spec_of(name)
    return Path(found.origin).resolve() if found and found.has_location and found.origin else None


def _spec_of(name: str) -> ModuleSpec | None:
    """Return where a module lies, without importing it or the package that it is in."""
    parent = name.rpartition(".")[0]
    try:
        if not parent:
            return importlib.util.find_spec(name)
        package = _spec_of(parent)
        places = package.submodule_search_locations if package else None
        return PathFinder.find_spec(name, places) if places else None
    except (ImportError, ValueError, AttributeError):
        return None


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_own(file: Path) -> bool:
    """Whether a file is in no installed package, not of the standard library, and not poolbench's."""
    if not file.is_file() or set(INSTALLED) & set(file.parts) or file.is_relative_to(PACKAGE):
        return False
    return not any(file.is_relative_to(folder) for folder in _installed_folders())


def _installed_folders() -> Iterator[Path]:
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        if folder := sysconfig.get_path(name):
            yield Path(folder).resolve()
    for folder in (*site.getsitepackages(), site.getusersitepackages()):
        yield Path(folder).resolve()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]
