"""How many deliberate faults the quick tests find: a small sample of mutants, each against its mirrored tests.

    python benchmarks/mutation.py                       # 30 mutants, the tests of this checkout
    python benchmarks/mutation.py --tests OTHER/tests   # the same mutants, the tests of another checkout

A mutant is one changed place: a comparison turned round, a sum made a difference, a constant one larger, an `and`
made an `or`, a branch taken the other way. Places are drawn by a fixed seed, so two runs on one source draw the same.
Each is run in a copy of the source with `pytest -x`; a mutant that no test fails for survives. What survives `not
slow` may still be found by the slow tests: `--marker ''` runs all.
"""

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from turns import markdown

TOP = Path(__file__).resolve().parent.parent
PACKAGES = {"pooling": 9, "kernels": 6, "backbones": 5, "report": 6, "measure": 4}
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True)
class Mutant:
    """One deliberate fault: the file, the line, what it was and what it became, and the whole text of the file."""

    path: str
    line: int
    before: str
    after: str
    source: str


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: whether a test failed for it, which one, and after how many seconds."""

    path: str
    line: int
    before: str
    after: str
    killed: bool
    by: str
    seconds: float


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, str, int]]:
    """Yield what can be changed: the node, the name of its field, and the place in it (−1: the field itself)."""
    hidden = {id(n) for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.arg) for n in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield node, "ops", 0
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
            yield node, "op", -1
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node, "value", -1
        elif isinstance(node, ast.If | ast.IfExp):
            yield node, "test", -1


def mutated(path: Path, draw: random.Random) -> Mutant | None:
    """Return a mutant of a file, None where it has no place to change."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    found = list(places(tree))
    if not found:
        return None
    node, field, at = draw.choice(found)
    shown = node if not isinstance(node, ast.If) else node.test
    before = ast.unparse(shown)
    if field == "ops":
        node.ops[at] = SWAPS[type(node.ops[at])]()  # type: ignore[attr-defined]
    elif field == "op":
        node.op = SWAPS[type(node.op)]()  # type: ignore[attr-defined]
    elif field == "value":
        node.value += 1  # type: ignore[attr-defined]
    else:
        node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]
    after = ast.unparse(node if not isinstance(node, ast.If) else node.test)
    line = getattr(node, "lineno", 0)
    return Mutant(path.relative_to(TOP).as_posix(), line, before, after, ast.unparse(ast.fix_missing_locations(tree)))


def sample(seed: int) -> list[Mutant]:
    """Return the mutants of a seed: so many of each package, each of another file."""
    draw, found = random.Random(seed), []
    for package, count in PACKAGES.items():
        files = sorted((TOP / "src" / "poolbench" / package).rglob("*.py"))
        files = [path for path in files if path.stat().st_size > 1500 and "gpu" not in path.parts]
        draw.shuffle(files)
        made = [mutant for path in files if (mutant := mutated(path, draw)) is not None]
        found += made[:count]
    return found


def tried(mutant: Mutant, copy: Path, tests: Path, marker: str, limit_s: float) -> Outcome:
    """Return whether the mirrored tests fail for a mutant; a run beyond the limit counts as failed."""
    target = copy / mutant.path
    original = target.read_text(encoding="utf-8")
    target.write_text(mutant.source, encoding="utf-8")
    package, module = mutant.path.split("/")[2], Path(mutant.path).stem
    # The file of the module's own name first: where it finds the fault, the rest need not run.
    folders = [*sorted((tests / package).rglob(f"test_{module}.py")), tests / package]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", marker, "-p", "no:cacheprovider", "-p", "no:randomly"]
    environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}", "OMP_NUM_THREADS": "1"}
    environment |= {"POOLBENCH_KERNEL_CACHE": str(copy / "kernels")}
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*command, *map(str, folders)],
            cwd=tests.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        killed, by = done.returncode != 0, failed[0].split(" - ")[0] if failed else ""
    except subprocess.TimeoutExpired:
        killed, by = True, f"took longer than {limit_s:.0f} s"
    finally:
        target.write_text(original, encoding="utf-8")
    shown = {key: value for key, value in asdict(mutant).items() if key != "source"}
    return Outcome(**shown, killed=killed, by=by, seconds=round(time.monotonic() - began, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=Path, default=TOP / "tests", help="(this checkout's)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these mutants alone, counted from 1")
    parser.add_argument("--marker", default="not slow", help="pytest's -m (%(default)s)")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of a mutant (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the outcomes there")
    arguments = parser.parse_args()
    mutants = sample(arguments.seed)
    chosen = [number for number in range(1, len(mutants) + 1) if number in (arguments.only or range(1, 1000))]
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("src", "conf"):
            shutil.copytree(TOP / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(TOP / "pyproject.toml", copy)
        for number in chosen:
            outcome = tried(mutants[number - 1], copy, arguments.tests.resolve(), arguments.marker, arguments.limit)
            outcomes.append(outcome)
            said = f"killed by {outcome.by}" if outcome.killed else "SURVIVED"
            print(f"{number:2} {outcome.path}:{outcome.line} {said}, {outcome.seconds} s", file=sys.stderr, flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    rows = [[f"{o.path}:{o.line}", f"`{o.before}` → `{o.after}`", "yes" if o.killed else "no"] for o in outcomes]
    print(markdown(["place", "change", "killed"], rows))
    print(f"\n{sum(outcome.killed for outcome in outcomes)} of {len(outcomes)} killed by {arguments.marker!r} tests")


if __name__ == "__main__":
    main()
