"""`poolbench power`: before the runs, how many seeds and test images a difference of so many points takes."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poolbench.cli.choices import names
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.paths import expanded

USAGE = """Show how likely a run finds a difference of so many points, and how many seeds that needs.

How much differences vary is taken from the records of a pilot, block by block: those of the experiment (in
results/NAME or results/reference/NAME) or of a results folder. Without records it is taken from the standard deviations
of the experiment's published figures, or from --std. Of errors, such as a mean absolute error, a point is one per cent
of the reference's mean.

  poolbench power experiment=quickstart --points 1
  poolbench power results/pilot --points 0.5 --images 600 10000
  poolbench power --std 0.25 --disagreement 0.05 --images 10000 --arms 5 --points 0.3"""
SEEDS = (3, 5, 10, 20, 50)
LARGER = (2_000, 10_000)


def add_to(commands: Any) -> None:
    """Add `poolbench power`."""
    command = commands.add_parser(
        "power",
        help="before the runs: how many seeds and test examples are needed to find a difference",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "source", nargs="*", help="experiment=NAME (with results_dir=DIR if it is not results), or a results folder"
    )
    command.add_argument(
        "--points",
        type=float,
        default=1.0,
        help="the true difference, in points; of errors in per cent of the reference's mean (default %(default)s)",
    )
    command.add_argument(
        "--seeds", type=int, nargs="+", default=list(SEEDS), help="numbers of seeds to try (default 3 5 10 20 50)"
    )
    command.add_argument("--images", type=int, nargs="+", help="sizes of the test set (default: the pilot's)")
    command.add_argument(
        "--arms", type=int, help="arms in a block without the reference (default: the pilot's, else 1)"
    )
    command.add_argument("--wanted", type=float, default=0.8, help="wanted chance to find it (default %(default)s)")
    command.add_argument("--std", type=float, help="published standard deviation of an arm's accuracy, points")
    command.add_argument(
        "--correlation",
        type=float,
        help="correlation between arms of equal seeds (default 0); with published figures and --std",
    )
    command.add_argument(
        "--disagreement",
        type=float,
        help="fraction of test examples on which two arms differ (default 0: the least that a report takes); needs "
        "--images, with published figures and --std",
    )
    command.set_defaults(run=run)


def run(known: argparse.Namespace) -> int:
    """Print the chances."""
    from rich.console import Console

    _check(known)
    if known.std is None:
        pilots = _of_source(known)
    elif known.source:
        raise ConfigurationError(f"--std and {known.source[0]} say the same twice: give one of them")
    else:
        from poolbench.report.pilot import Pilot
        from poolbench.report.statistics.power import Variances

        pilots = [Pilot("published", Variances.of_published(known.std / 100, **_assumed(known)))]
    console = Console()
    for pilot in pilots:
        _show(console, pilot, known)
    return 0


def _check(known: argparse.Namespace) -> None:
    """Raise for the first flag whose value breaks its rule, or that would have no effect."""
    if not 0 < known.wanted < 1:
        raise ConfigurationError(f"--wanted must be between 0 and 1, got {known.wanted}: 0.8 is 80 %")
    if not (math.isfinite(known.points) and known.points > 0):
        raise ConfigurationError(f"--points must be a number above 0, got {known.points}: give the difference's size")
    if min(known.seeds) < 1:
        raise ConfigurationError(f"--seeds must be at least 1, got {min(known.seeds)}: leave it out, or give 3 or more")
    if min(known.images or [2]) < 2:
        raise ConfigurationError(
            f"--images must be at least 2, got {min(known.images)}: give the number of test examples"
        )
    if known.arms is not None and known.arms < 1:
        raise ConfigurationError(f"--arms must be at least 1, got {known.arms}: the reference is not counted")
    if known.std is not None and not (math.isfinite(known.std) and known.std > 0):
        raise ConfigurationError(f"--std must be a number above 0, in points, got {known.std}")
    if known.correlation is not None and not -1 <= known.correlation < 1:
        raise ConfigurationError(
            f"--correlation must be at least -1 and below 1, got {known.correlation}: 0 where arms share no seeds"
        )
    if known.disagreement is not None and not 0 <= known.disagreement <= 1:
        raise ConfigurationError(
            f"--disagreement must be in 0..1, got {known.disagreement}: 0.05 is 5 % of the examples"
        )
    if known.disagreement and not known.images:
        raise ConfigurationError(
            f"--disagreement {known.disagreement:g} needs --images, got none: how much it counts depends on the number "
            "of test examples; add --images N"
        )


def _assumed(known: argparse.Namespace) -> dict[str, float]:
    """Return what published figures leave to be said."""
    return {"correlation": known.correlation or 0.0, "disagreement": known.disagreement or 0.0}


def _of_source(known: argparse.Namespace) -> Any:
    """Return what is known of each block of the pilot, or of what was published."""
    import yaml

    named, folders = _sorted(known.source)
    if folders:
        return _of_pilot(folders[0], known)
    experiment = named.get("experiment")
    if not experiment:
        raise ConfigurationError("name what is known: experiment=NAME, a results folder, or --std")
    results = expanded(named.get("results_dir", "results"), "results_dir")
    for folder in (results / experiment, results / "reference" / experiment):
        if (folder / "records").is_dir():
            return _of_pilot(folder, known)
    experiments = names("experiment")
    if experiment not in experiments:
        raise ConfigurationError(
            f"{unknown_name('experiment', experiment, experiments)}. {results / experiment} holds no records either: "
            "run a pilot of a few seeds, or give --std"
        )
    from poolbench.experiment import Experiment
    from poolbench.report.pilot import of_published

    path = experiments[experiment]
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    found = of_published(Experiment.of(path.stem, None, None, content.get("published"), f"{path}: "), **_assumed(known))
    if not found:
        raise ConfigurationError(
            f"{experiment} has no records in {results / experiment} and its YAML no published standard deviation: "
            "run a pilot of a few seeds, or give --std"
        )
    return found


def _sorted(source: Sequence[str]) -> tuple[dict[str, str], list[Path]]:
    named, folders = {}, []
    for one in source:
        key, equals, value = one.partition("=")
        if equals and key in ("experiment", "results_dir"):
            named[key] = value
        elif equals and not expanded(one, "SOURCE").is_dir():
            raise ConfigurationError(f"`{one}`: power takes experiment=, results_dir= or a results folder")
        else:
            folders.append(expanded(one, "SOURCE"))
    if len(folders) > 1 or (folders and named):
        raise ConfigurationError(f"power takes one results folder, or experiment=NAME; got {' '.join(source)}")
    return named, folders


def _of_pilot(folder: Path, known: argparse.Namespace) -> Any:
    for flag in ("correlation", "disagreement"):
        if (value := getattr(known, flag)) is not None:
            raise ConfigurationError(
                f"--{flag} goes with published figures or --std, got {value:g} with the pilot {folder}, whose records "
                "show it: leave it out"
            )
    from poolbench.report.pilot import of_records

    pilots = of_records(folder)
    if all(pilot.variances is None for pilot in pilots):
        raise ConfigurationError(
            f"{folder} does not show how much differences vary: it needs a reference and an arm with at least "
            "2 seeds in common"
        )
    return pilots


def _show(console: Any, pilot: Any, known: argparse.Namespace) -> None:
    from rich.table import Table
    from rich.text import Text

    from poolbench.report.statistics.power import power, seeds_needed

    console.print(Text(pilot.name, style="bold"))
    variances, arms = pilot.variances, known.arms or pilot.arms or 1
    images = known.images or [pilot.images, *(size for size in LARGER if size > (pilot.images or math.inf))]
    if variances is None:
        console.print(
            Text(
                "Left out: its records do not show how much differences vary; that takes a reference and an arm with "
                "at least 2 seeds in common whose differences are not all equal.\n"
            )
        )
        return
    if pilot.mean == 0:
        console.print(Text("Left out: differences are shares of the reference's mean, which is 0.\n"))
        return
    point = (1.0 if pilot.mean is None else pilot.mean) / 100
    unit = "points" if pilot.mean is None else f"per cent of the reference's mean ({pilot.mean:.4g})"
    shown = Table(box=None, pad_edge=False)
    shown.add_column("test examples", justify="right")
    for seeds in known.seeds:
        shown.add_column(f"{seeds} seed{'s' * (seeds != 1)}", justify="right")
    shown.add_column(f"seeds for {known.wanted:.0%}".replace("%", " %"), justify="right")
    for number in images:
        chances = [
            power(known.points * point, variances, seeds=seeds, images=number, arms=arms) for seeds in known.seeds
        ]
        needed = seeds_needed(known.points * point, variances, images=number, arms=arms, wanted=known.wanted)
        shown.add_row(
            f"{number:,}" if number else "any",
            *(f"{chance * 100:.0f} %" for chance in chances),
            f"{needed}" if needed else "over 100",
        )
    console.print(shown)
    first = images[0]
    if first and variances.images:
        noise = "seeds and test examples count"
    elif first and variances.binary:
        noise = "the seeds count, and of the test examples the least that a report takes"
    else:
        noise = "only the seeds count"
    if first and variances.images_a_unit > 1:
        noise += f", these in groups of about {variances.images_a_unit:.3g} that vary together"
    over_seeds = (variances.seeds + (variances.rest / first if first else 0)) ** 0.5
    console.print(
        Text(
            f"Chance that a true difference of {known.points:g} {unit} is called one, among {arms} "
            f"arm{'s' * (arms != 1)} with Holm's correction at its strictest; {noise}. Over seeds a difference varies "
            f"by {over_seeds / point:.2f} {unit.partition(' (')[0]}."
        )
    )
    if min(known.seeds) < 3:
        console.print(Text("With fewer than 3 seeds nothing is decided."))
    console.print()
