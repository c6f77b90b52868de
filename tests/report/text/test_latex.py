r"""summary.tex: what LaTeX would make of it, and when a mean is bold."""

import re
from typing import Any

import pytest

from poolbench.report.content import Content
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.statistics.comparison import Compared
from poolbench.report.statistics.over_blocks import InBlock, OverBlocks
from poolbench.report.tables.over_blocks_frame import over_blocks_frame
from poolbench.report.text import latex, over_blocks
from poolbench.report.text.asides import COMPARED, Aside
from poolbench.report.text.latex import MARK, best, escaped
from poolbench.report.text.views import rows_by_arm
from poolbench.score import ACCURACY, Score

DEGREES = Score("mean_absolute_error", "degrees", "lower", "per cent")
# Characters that LaTeX takes for commands, with what sets them as they are.
SPECIAL = {
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def of(content: Content) -> str:
    return latex.tables(content.blocks, content.views, rows_by_arm(content.tables["summary"]))


def rows_of(table: str) -> list[list[str]]:
    """Return the cells of a table, headings first, parted as LaTeX parts them."""
    between = re.search(r"\\toprule\n(.*) \\\\\n\\midrule\n(.*) \\\\\n\\bottomrule", table, flags=re.DOTALL)
    assert between, table
    headings, body = between.groups()
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in (headings, *body.split(" \\\\\n"))]


def written(results: Any) -> str:
    return of(gather(load(results.folder)))


def right(n: int, seed: int) -> list[int]:
    """Return outcomes of 100 images, another one wrong for each seed, and above 90 one more right for odd seeds."""
    more = seed % 2 if n > 90 else 0
    return [int(image < n + more and image != seed) for image in range(100)]


class TestEscaping:
    @pytest.mark.parametrize(("character", "set_as"), SPECIAL.items())
    def test_each_character(self, character: str, set_as: str) -> None:
        assert escaped(f"a{character}b") == f"a{set_as}b"

    def test_all_in_one(self) -> None:
        assert escaped("".join(SPECIAL)) == "".join(SPECIAL.values())

    def test_signs_of_the_tables(self) -> None:
        assert escaped("−0.20 ± 0.34 – Δ ×") == r"$-$0.20 $\pm$ 0.34 -- $\Delta$ $\times$"

    def test_whatever_stands_in_a_name_it_is_ascii_and_known_commands(self) -> None:
        set_as = {character: escaped(character) for character in map(chr, range(32, 0x3100))}
        assert all(text.isascii() for text in set_as.values())
        assert [set_as[one] for one in 'é"αΓΤ½ς⚑'] == [
            *(r"\'{e}", r"\char34{}", r"$\alpha$", r"$\Gamma$", r"$\mathrm{T}$", "1/2", r"$\varsigma$", MARK),
        ]
        assert escaped("池") == "U+6C60"
        known = (
            "textbackslash textasciitilde textasciicircum textless textgreater textbar char textsuperscript textdegree "
            "textperiodcentered textdaggerdbl mathrm dots pm times approx surd rightarrow leftarrow leq geq neq infty "
            "ss ae AE oe OE o O l L i u r H v c alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu "
            "xi pi rho sigma varsigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi "
            "Psi Omega"
        )
        assert {word for text in set_as.values() for word in re.findall(r"\\([A-Za-z]+)", text)} <= set(known.split())

    @pytest.mark.parametrize("name", ["".join(SPECIAL), "avg_topk[k=3]", "100%_of&it#1"])
    def test_in_every_place_that_a_name_stands_in(self, results: Any, name: str) -> None:
        for seed in range(3):
            results.add("max", seed, 0.9, backbone=name, dataset=name)
            results.add(name, seed, 0.9 + 0.01 * seed, backbone=name, dataset=name, provenance={"dirty": True})
        text = written(results)
        assert [row[0] for row in rows_of(text)[1:]] == ["max", escaped(name) + MARK]
        assert f"\\caption{{{escaped(name)} on {escaped(name)}. " in text
        assert f"({escaped(name)}: uncommitted changes)" in text
        assert text.count(escaped(name)) == 4

    def test_of_the_reference_in_a_heading(self, results: Any) -> None:
        for seed in range(3):
            results.add("ref_1", seed, 0.9, reference="ref_1")
            results.add("avg", seed, 0.9, reference="ref_1")
        assert rows_of(written(results))[0][3] == r"$\Delta$ to ref\_1, points"


class TestStructure:
    def test_a_table_a_block(self, results: Any) -> None:
        results.grid(blocks=[("slides", "digits"), ("lenet5", "digits")], variants=["max", "avg", "gap"], seeds=3)
        header, *tables = written(results).strip().split("\n\n")
        assert header.startswith("% ")
        assert len(tables) == 2
        for number, table in enumerate(tables, start=1):
            lines = table.splitlines()
            assert (lines[0], lines[-1]) == (r"\begin{table}", r"\end{table}")
            assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]
            assert lines.count(rf"\label{{tab:poolbench-{number}}}") == 1
            assert table.count(r"\begin{") == table.count(r"\end{") == 2
            assert len(re.findall(r"(?<!\\)\{", table)) == len(re.findall(r"(?<!\\)\}", table))
        assert "lenet5 on digits" in tables[0]
        assert "slides on digits" in tables[1]

    @pytest.mark.parametrize(
        ("variants", "speed", "columns"), [(["max"], False, 5), (["max"], True, 6), (["max", "avg"], False, 7)]
    )
    def test_each_row_has_a_cell_a_heading(self, results: Any, variants: list[str], speed: bool, columns: int) -> None:
        results.grid(blocks=[("slides", "digits")], variants=variants, seeds=3, speed=speed)
        text = written(results)
        rows = rows_of(text)
        assert {len(row) for row in rows} == {columns}
        assert f"\\begin{{tabular}}{{l{'r' * (columns - 1)}}}" in text

    def test_a_row_by_hand(self, results: Any) -> None:
        for seed, (of_max, of_avg) in enumerate([(0.90, 0.89), (0.92, 0.89), (0.94, 0.95)]):
            reference = results.add("max", seed, of_max)
            arm = results.add("avg", seed, of_avg)
        results.speed(reference, reference)
        results.speed(arm, reference, ratio=0.87)
        # Differences −.01 −.03 .01: −1 ± 4.97 points; avg .91 ± 4.3027 · .034641 / √3.
        assert rows_of(written(results))[2] == [
            *("avg", "3", r"91.00 $\pm$ 8.61", r"$-$1.00 $\pm$ 4.97", "undecided", "270,942", "4.38", "0.870")
        ]

    def test_what_has_no_value_is_a_dash(self, results: Any) -> None:
        results.add("max", 0, 0.9)
        results.add("avg", 0, None, cost={"parameters": None, "multiply_adds": None})
        assert rows_of(written(results))[2] == ["avg", "0", "--", "--", "--"]

    def test_an_arm_without_a_finished_cell_has_no_row(self, results: Any) -> None:
        results.add("max")
        results.add("avg", status="failed", reason="no")
        assert [row[0] for row in rows_of(written(results))[1:]] == ["max"]

    def test_no_finished_cell_no_table(self, results: Any) -> None:
        results.add("max", status="failed", reason="no")
        assert "\\begin" not in written(results)


def row(variant: str, mean: Any, verdict: str, flags: str = "") -> dict[str, Any]:
    return {"arm_id": variant, "test_accuracy_mean": mean, "verdict": verdict, "flags": flags}


class TestBold:
    @pytest.mark.parametrize(
        ("expected", "rows"),
        [
            pytest.param("", [], id="no arm"),
            pytest.param("", [row("max", None, "reference")], id="no accuracy"),
            pytest.param("", [row("max", 0.9, "reference")], id="the reference alone"),
            pytest.param("avg", [row("max", 0.9, "reference"), row("avg", 0.92, "better")], id="better"),
            pytest.param(
                "gap",
                [row("max", 0.9, "reference"), row("avg", 0.92, "better"), row("gap", 0.93, "better")],
                id="the first of two that are better",
            ),
            pytest.param("", [row("max", 0.9, "reference"), row("avg", 0.92, "better", "own geometry")], id="flagged"),
            pytest.param("", [row("max", 0.9, "reference"), row("avg", 0.92, "undecided")], id="undecided"),
            pytest.param("", [row("max", 0.9, "reference"), row("avg", 0.92, "too few runs")], id="too few runs"),
            pytest.param("", [row("max", 0.9, "reference"), row("avg", 0.9004, "tie")], id="tie"),
            pytest.param("", [row("max", 0.9, ""), row("avg", 0.92, "")], id="without a reference"),
            pytest.param(
                "",
                [row("max", 0.9, "reference"), row("avg", 0.92, "undecided"), row("gap", 0.91, "better")],
                id="the best is undecided though another is better",
            ),
            pytest.param("max", [row("max", 0.9, "reference"), row("avg", 0.8, "worse")], id="all others are worse"),
            pytest.param(
                "",
                [row("max", 0.9, "reference"), row("avg", 0.8, "worse"), row("gap", 0.89, "undecided")],
                id="one other is undecided",
            ),
            pytest.param(
                "max",
                [row("max", 0.9, "reference"), row("avg", 0.8, "worse"), row("gap", 0.9, "identical")],
                id="the same network does not count",
            ),
            pytest.param(
                "", [row("max", 0.9, "reference"), row("gap", 0.9, "identical")], id="nothing but the same network"
            ),
        ],
    )
    def test_the_best(self, rows: list[dict[str, Any]], expected: str) -> None:
        assert best(rows) == expected

    def test_better(self, results: Any) -> None:
        for seed in range(5):
            results.add("max", seed, right=right(80, seed))
            results.add("avg", seed, right=right(96, seed))
        text = written(results)
        assert [row[2].startswith(r"\textbf{") for row in rows_of(text)[1:]] == [False, True]
        assert rows_of(text)[2][2] == r"\textbf{95.40 $\pm$ 0.68}"
        assert "Bold: " in text
        assert MARK not in text

    def test_no_verdict_no_bold(self, results: Any) -> None:
        for seed in range(2):
            results.add("max", seed, right=right(80, seed))
            results.add("avg", seed, right=right(96, seed))
        text = written(results)
        assert rows_of(text)[2][4] == "too few runs"
        assert "textbf" not in text
        assert "Bold" not in text

    def test_flagged(self, results: Any) -> None:
        site = {"name": "pool1", "operator": "AvgPool2d", "arguments": "", "geometry": "own"}
        for seed in range(5):
            results.add("max", seed, right=right(80, seed))
            results.add("avg", seed, right=right(96, seed), audit={"sites": [site]})
        text = written(results)
        assert [row[0] for row in rows_of(text)[1:]] == ["max", f"avg{MARK}"]
        assert rows_of(text)[2][4] == "better"
        assert f"{MARK}More than the pooling differs (avg: own geometry)." in text
        assert "textbf" not in text

    def test_the_margin_is_in_the_caption(self, results: Any) -> None:
        for seed in range(3):
            results.add("max", seed, margin=0.0025)
            results.add("avg", seed, margin=0.0025)
        assert "tie: within 0.25 points." in written(results)


def test_a_flagged_row_of_a_further_table_has_the_mark_and_a_note() -> None:
    cells = ("slides", "digits", "avg", "boundary F", "91.00", "+1.00", "better ⚑")
    aside = Aside("beside", "By further scores", "", COMPARED, [cells], ["avg: caution"], [])
    text = latex.tables([], [], {}, None, [aside])
    assert rows_of(text)[1][-1] == f"better{MARK}"
    assert f"{MARK}More differs than what is compared." in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([ACCURACY], "each block beside it, in points."),
        ([DEGREES], "each block beside it, in degrees."),
        ([ACCURACY, DEGREES], "each block beside it, in points or in the unit of its score."),
        ([ACCURACY] * 9, "how many blocks have which verdict beside it."),
    ],
)
def test_the_caption_over_blocks_says_what_stands_beside_the_mean(scores: list[Score], says: str) -> None:
    blocks = [InBlock(f"{score.name} {at}", "better", 0.01) for at, score in enumerate(scores)]
    by_score = [[each for each, own in zip(blocks, scores, strict=True) if own == score] for score in set(scores)]
    found = [
        OverBlocks("avg", "max", Compared("better"), tuple(own), (0,), score)
        for own, score in zip(by_score, set(scores), strict=True)
    ]
    view = over_blocks.view(found, over_blocks_frame(found))
    assert f"for the arms); {says}" in latex.tables([], [], {}, view)
