"""What a checkpoint and an arm's facts depend on: all of poolbench that a training runs."""

import grimp

from poolbench.paths import PACKAGE
from poolbench.source import DETERMINING, training_code

# Imported by what decides weights, and deciding none: settings, messages, files, loggers, and what finds all this.
NOT_DETERMINING = {
    *("checks", "declared", "environment", "errors", "experiment", "force", "loggers", "output", "own_code", "paths"),
    *("processors", "record", "settings", "source", "tuning", "whole_file", "writable"),
}


def test_all_that_a_training_imports_is_in_the_digest_or_named_here() -> None:
    graph = grimp.build_graph("poolbench")
    starts = ["poolbench.run.batches", "poolbench.training.fit", "poolbench.cell", "poolbench.arms"]
    imported = {module for start in starts for module in (start, *graph.find_upstream_modules(start))}
    parts = {module.split(".", 1)[1] for module in imported if "." in module}
    in_digest = {part.removesuffix(".py").replace("/", ".") for part in DETERMINING}
    left = {part for part in parts if not any(f"{part}.".startswith(f"{known}.") for known in in_digest)}
    assert {part.partition(".")[0] for part in left} <= NOT_DETERMINING | {"run"}
    assert {part for part in left if part.startswith("run.")} == set()


def test_each_part_of_the_digest_is_there() -> None:
    assert all((PACKAGE / part).exists() for part in DETERMINING)
    assert len(training_code(PACKAGE)["code"]) == 16
