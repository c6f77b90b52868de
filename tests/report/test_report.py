"""The report as a whole: what is read and refused, what is printed, what is written."""

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from rich.console import Console

from poolbench.errors import ConfigurationError
from poolbench.report import figures, page
from poolbench.report import make as making
from poolbench.report.make import Report, make_report
from poolbench.report.shown import reported
from poolbench.report.text.terminal import Shown

SIX = ["max", "avg", "strided_conv", "gap", "adaptive", "avg_topk"]
TWELVE = [
    *SIX,
    "gmp",
    "avg_max_concat",
    "adaptive_max",
    "class_maps_gap",
    "avg_topk[k=3]",
    "min[protocol.optimizer.weight_decay=0.0005]",
]
REPORT = "import sys, pathlib; from poolbench.report.make import make_report; make_report(pathlib.Path(sys.argv[1]))"
BLOCKS = [(backbone, dataset) for backbone in ("resnet18", "slides", "lenet5") for dataset in ("digits", "cifar10")]


def printed(results: Any, width: int = 100, encoding: str = "utf-8", shown: Shown = Shown.TABLES) -> tuple[Report, str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    made = make_report(results.folder, console=Console(file=file, width=width, force_terminal=False), shown=shown)
    file.seek(0)
    return made, file.read()


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and page take most of a report's time; what is read and printed does not depend on them."""
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")


@pytest.mark.usefixtures("_no_pictures")
def test_nested_experiments_are_shown_by_their_whole_name(results: Any) -> None:
    """Loggers have the cells in a group of that name, and the report belongs to them."""
    for seed in range(3):
        results.write(results.add(seed=seed) | {"experiment": "study/one"})
    assert reported(make_report(results.folder)).experiment == "study/one"


@pytest.mark.usefixtures("_no_pictures")
class TestReading:
    def test_folder_missing_names_the_nearest(self, results: Any) -> None:
        results.add()
        with pytest.raises(ConfigurationError, match=r"exmple.*did you mean example\?"):
            make_report(results.folder.parent / "exmple")

    def test_parent_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"nor its parent .*nowhere"):
            make_report(tmp_path / "nowhere" / "example")

    def test_a_file_is_not_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "example").write_text("")
        with pytest.raises(ConfigurationError, match="is a file"):
            make_report(tmp_path / "example")

    def test_no_records(self, results: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"no record in .*example.*RUN_ID.*poolbench train name=example"):
            make_report(results.folder)

    def test_one_level_too_high_or_too_deep(self, results: Any) -> None:
        results.add()
        with pytest.raises(ConfigurationError, match=r"did you mean one of .*results/example\?"):
            make_report(results.folder.parent)
        with pytest.raises(ConfigurationError, match=r"did you mean .*results/example\?"):
            make_report(results.folder / "records")

    def test_unreadable_files_are_named_and_the_rest_reported(self, results: Any) -> None:
        results.add(seed=0)
        truncated = results.write(results.add(seed=1))
        truncated.write_text(truncated.read_text()[:200])
        other = results.write(results.add(seed=2) | {"schema": 99})
        unlabelled = results.write(results.add(seed=3) | {"labels": {"variant": "max"}})
        speed = results.folder / "speed" / "x-y.json"
        speed.parent.mkdir()
        speed.write_text("{}")
        made, text = printed(results)
        assert made.tables["accuracy"]["n_seeds"].tolist() == [1]
        assert {problem.path for problem in made.problems} == {truncated, other, unlabelled, speed}
        assert "Not read (4)" in text
        assert "labels lacks backbone, dataset" in text
        assert f"records/{truncated.parent.name}/record.json" in (results.folder / "summary.md").read_text().replace(
            "\\", ""
        )

    def test_only_unreadable_files(self, results: Any) -> None:
        path = results.write(results.add())
        path.write_text("{")
        with pytest.raises(ConfigurationError, match=r"no record in .*not read: .*record\.json"):
            make_report(results.folder)

    @pytest.mark.slow
    def test_speed_without_figures_is_a_problem(self, results: Any) -> None:
        record = results.add()
        results.speed(record, record, quantities=[1])
        made, _ = printed(results)
        assert made.tables["throughput"].empty
        assert [problem.reason for problem in made.problems] == ["quantities must be an object of objects"]

    def test_unwritable_folder_is_found_before_reading(self, results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        results.add()

        def refuse(**_: Any) -> Any:
            raise PermissionError(13, "Permission denied")

        def read(_: Path) -> Any:
            raise AssertionError("read before the folder was known to be writable")

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        monkeypatch.setattr(making, "load", read)
        with pytest.raises(ConfigurationError, match=r"example cannot be written \(Permission denied\)"):
            make_report(results.folder)

    def test_a_folder_in_the_place_of_a_file(self, results: Any) -> None:
        results.add()
        (results.folder / "summary.md").mkdir()
        with pytest.raises(ConfigurationError, match=r"summary\.md is a folder"):
            make_report(results.folder)

    def test_two_records_of_one_cell(self, results: Any) -> None:
        record = results.add(accuracy=0.5)
        newer = record | {"run_id": "again", "times": {"ended": "2027"}, "metrics": {"test_accuracy": 0.7}}
        results.write(newer)
        made, _ = printed(results)
        assert made.tables["accuracy"]["test_accuracy_mean"].tolist() == [0.7]
        assert any("two records of seed 0" in warning for warning in made.warnings)


@pytest.mark.usefixtures("_no_pictures")
class TestWarnings:
    def test_nothing_to_say_of_an_even_comparison(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:2], variants=SIX, seeds=2)
        made, text = printed(results)
        assert made.warnings == []
        assert "Warnings" not in text

    def test_origins(self, results: Any) -> None:
        results.add("max")
        results.add("avg", provenance={"revision": "fedcba9876543210", "dirty": True, "machine": "Another CPU"})
        made, _ = printed(results)
        said = "\n".join(made.warnings)
        assert "records of different code revisions: 0123456789ab, fedcba987654" in said
        assert "records of different machines: Another CPU, Example CPU @ 3 GHz" in said
        assert "1 of 2 records were made from a tree with uncommitted changes" in said
        assert "revision fedcba987654 with uncommitted changes" in (results.folder / "summary.md").read_text()

    def test_what_holds_everywhere_is_said_once(self, results: Any) -> None:
        for backbone, dataset in BLOCKS:
            results.add(backbone=backbone, dataset=dataset, provenance={"dirty": True})
        made, _ = printed(results)
        assert made.warnings == ["all blocks: all records were made from a tree with uncommitted changes"]

    def test_reference_of_another_recipe(self, results: Any) -> None:
        results.add("max")
        results.add("avg", config={"trainer": {"gradient_clip_val": 1.0}})
        made, _ = printed(results)
        said = "\n".join(made.warnings)
        assert "arms differ in trainer.gradient_clip_val: 1.0 (1 arm), null (1 arm)" in said
        assert "compared with a reference of another recipe: avg" in said

    def test_costs_that_disagree(self, results: Any) -> None:
        results.add(seed=0)
        results.add(seed=1, cost={"parameters": 1})
        made, _ = printed(results)
        assert any("disagree about its cost" in warning for warning in made.warnings)

    def test_different_references(self, results: Any) -> None:
        results.add("max", reference="max")
        results.add("avg", reference="avg")
        made, _ = printed(results)
        assert any("different references (avg, max); avg is taken" in warning for warning in made.warnings)

    def test_a_cell_that_never_ran_knows_no_device(self, results: Any) -> None:
        results.add("max", 1)
        never = results.add("avg", 1)
        results.write(never | {"seed": 0, "run_id": "never", "status": "failed", "provenance": {}})
        assert printed(results)[0].warnings == []


@pytest.mark.usefixtures("_no_pictures")
class TestTerminal:
    @pytest.mark.quick(1)
    @pytest.mark.parametrize("width", [70, 80, 100, 120])
    @pytest.mark.parametrize("variants", [SIX, TWELVE], ids=["six", "twelve"])
    def test_no_line_too_long_and_no_figure_cut(self, results: Any, width: int, variants: list[str]) -> None:
        results.grid(blocks=BLOCKS[:3], variants=variants, seeds=3)
        made, text = printed(results, width)
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in text
        for _, arm in made.tables["summary"].iterrows():
            half = (arm["test_accuracy_ci95_high"] - arm["test_accuracy_mean"]) * 100
            accuracy = f"{arm['test_accuracy_mean'] * 100:.2f} ± {half:.2f}"
            assert any(accuracy in line for line in lines), accuracy
            assert any(f" {arm['parameters']:,} " in line for line in lines)

    def test_one_table_a_block_where_there_is_room(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:1], variants=SIX, seeds=3)
        _, text = printed(results, width=120)
        heading = next(line for line in text.splitlines() if line.startswith("variant"))
        assert re.split(r"\s{2,}", heading.strip()) == [
            "variant",
            *("n", "test acc. %", "Δ, points", "verdict"),
            *("params", "of pooling", "MMACs", "train ×", "examples/s", "latency ×"),
        ]

    def test_a_row_by_hand(self, results: Any) -> None:
        for seed, (of_max, of_avg) in enumerate([(0.90, 0.89), (0.92, 0.89), (0.94, 0.95)]):
            reference = results.add("max", seed, of_max)
            arm = results.add("avg", seed, of_avg)
        results.speed(reference, reference)
        results.speed(arm, reference, training=10_740.7, ratio=0.87, settled=False)
        _, text = printed(results, width=120)
        row = next(line for line in text.splitlines() if line.startswith("avg "))
        # differences −.01 −.03 .01: −1 ± 4.97 points; avg .91 ± 4.3027 · .034641 / √3;
        # 2.110 · 2 / √18 = .99 < 1, the first n of which that holds
        assert re.split(r"\s{2,}", row.strip()) == [
            *("avg", "3", "91.00 ± 8.61", "−1.00 ± 4.97", "undecided ≈"),
            *("270,942", "4.38", "0.87~", "10,741", "1.15~"),
        ]
        assert "~ interval stayed wide" in " ".join(text.split())

    def test_says_how_to_read_it(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:1], variants=SIX[:2], seeds=3)
        text = " ".join(printed(results, shown=Shown.ALL)[1].split())
        assert "mean over the n = 3 seeds" in text
        assert "95 % interval (Student's t over the seeds)" in text
        assert "seed by seed" in text
        assert "√(p(1−p)/examples)" in text
        assert "Speed: cpu (Example CPU @ 3 GHz), 2 threads, channels_last, float32, batch 64" in text

    def test_tables_come_first_and_a_legend_of_five_lines_after_them(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:2], variants=SIX[:3], seeds=3)
        _, text = printed(results, width=80)
        table, verdict = text.index("test acc. %"), text.index("\nVerdict\n")
        assert table < verdict < text.index("n: seeds; ±: half of a 95 % interval")
        legend = text[text.index("n: seeds; ±") : text.index("Written to")].split("\n\n")[0]
        assert len(legend.strip().splitlines()) <= 5
        assert text.index("a block: one network on one data set") < verdict
        assert "mean over the n = 3 seeds" not in text
        assert len([line for line in text.splitlines() if line.startswith("Written to")]) == 1

    def test_quiet_is_the_verdict_alone(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:1], variants=SIX[:3], seeds=3)
        _, text = printed(results, shown=Shown.VERDICT)
        assert "Verdict" in text
        assert "test acc. %" not in text

    def test_brackets_are_text_not_markup(self, results: Any) -> None:
        results.add("max")
        results.add("avg_topk[bold]")
        assert "avg_topk[bold]" in printed(results)[1]

    def test_notes_stand_under_the_table(self, results: Any) -> None:
        results.add("max")
        results.add("gap", audit={"network_digest": results.add("adaptive")["audit"]["network_digest"]})
        site = {"name": "pool1", "operator": "AvgPool2d", "arguments": "", "geometry": "own"}
        results.add("avg", audit={"sites": [site]})
        _, text = printed(results)
        assert re.search(r"\n  gap: identical to adaptive *\n", text)
        assert re.search(r"\n  avg: ⚑ own geometry *\n", text)

    def test_arms_that_share_a_note_stand_together(self, results: Any) -> None:
        results.add("max")
        for variant in ("avg", "min"):
            site = {"name": "pool1", "operator": variant, "arguments": "", "geometry": "own"}
            results.add(variant, audit={"sites": [site], "network_digest": variant})
        assert re.search(r"\n  avg, min: ⚑ own geometry *\n", printed(results)[1])

    def test_cells_that_are_not_compared(self, results: Any) -> None:
        results.add("max")
        for seed in range(3):
            results.add("avg_topk", seed, status="unsupported", reason="site pool1: `k` must be in 1..4")
        results.add("avg", 4, status="failed", reason="RuntimeError: no\nTraceback")
        made, text = printed(results)
        assert [(entry.variant, entry.seeds, entry.status) for entry in made.not_compared] == [
            ("avg", (4,), "failed"),
            ("avg_topk", (0, 1, 2), "unsupported"),
        ]
        assert "slides on digits, avg, seed 4: failed: RuntimeError: no\n" in text
        assert "avg_topk, seeds 0–2: unsupported: site pool1" in text
        assert not any(line.startswith("avg") for line in text.splitlines())

    def test_no_cell_finished(self, results: Any) -> None:
        results.add("max", status="failed", reason="RuntimeError: no")
        made, text = printed(results)
        assert "no finished cell" in text
        assert "No cell finished" in (results.folder / "summary.md").read_text()
        assert all(path.is_file() for path in made.files)

    def test_long_lists_are_cut_short_in_the_terminal_only(self, results: Any) -> None:
        results.add()
        for seed in range(1, 20):
            results.add(seed=seed, status="failed", reason=f"reason {seed}")
        _, text = printed(results)
        assert "and 7 more: summary.md lists all" in text
        assert "reason 19" in (results.folder / "summary.md").read_text()

    def test_plain_characters_where_the_terminal_knows_no_others(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:1], variants=SIX, seeds=3)
        _, text = printed(results, encoding="ascii")
        assert "?" not in text
        assert "93.60 +- 1.49" in text
        assert "diff, points" in text
        assert max(map(len, text.splitlines())) <= 100


class TestFiles:
    def test_all_are_written_and_nothing_else(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:1], variants=SIX[:2], seeds=2)
        made, text = printed(results)
        names = {path.name for path in made.files}
        assert names >= {"accuracy.csv", "summary.parquet", "summary.md", "summary.tex", "report.html", "accuracy.svg"}
        assert {path.name for path in results.folder.iterdir()} == {*names, "records", "speed"}
        tables = len({path.stem for path in made.files if path.suffix == ".csv"})
        assert f"report.html, {tables} tables (.csv, .parquet)" in text.replace("\n", " ")

    @pytest.mark.slow
    def test_equal_records_give_equal_bytes(self, new_results: Callable[[str], Any]) -> None:
        contents = []
        for _ in range(2):
            results = new_results(f"made{len(contents)}/example")
            results.grid(blocks=BLOCKS[:2], variants=SIX, seeds=3)
            results.add("gmp", status="failed", reason="no")
            printed(results)
            contents.append({path.name: path.read_bytes() for path in results.folder.iterdir() if path.is_file()})
        assert contents[0].keys() == contents[1].keys()
        assert [name for name in contents[0] if contents[0][name] != contents[1][name]] == []

    @pytest.mark.slow
    def test_two_reports_at_once(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:1], variants=SIX[:3], seeds=3)
        command = [sys.executable, "-c", REPORT, str(results.folder)]
        both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
        said = [process.communicate()[1] for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        found = {path.name: path.read_bytes() for path in results.folder.iterdir() if path.is_file()}
        printed(results)
        assert found == {path.name: path.read_bytes() for path in results.folder.iterdir() if path.is_file()}

    def test_what_there_is_no_more_to_show_goes(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:1], variants=SIX[:2], seeds=3)
        printed(results)
        assert (results.folder / "forest.svg").is_file()
        for folder in (results.folder / "records").glob("*-avg-*"):
            (folder / "record.json").unlink()
        printed(results)
        assert not (results.folder / "forest.svg").exists()
        assert (results.folder / "accuracy.svg").is_file()

    @pytest.mark.slow
    def test_settings_of_matplotlib_change_nothing_and_are_kept(self, results: Any) -> None:
        results.add()
        printed(results)
        before = (results.folder / "accuracy.svg").read_bytes()
        with mpl.rc_context({"lines.linewidth": 9, "svg.hashsalt": "mine", "figure.dpi": 33}):
            printed(results)
            assert mpl.rcParams["figure.dpi"] == 33
        assert (results.folder / "accuracy.svg").read_bytes() == before

    def test_markdown(self, results: Any) -> None:
        results.grid(blocks=BLOCKS[:2], variants=SIX, seeds=3)
        results.add("avg", 7, status="failed", reason="RuntimeError: a | b")
        printed(results)
        text = (results.folder / "summary.md").read_text()
        assert text.startswith("# example\n")
        tables = [block for block in text.split("\n\n") if block.startswith("| variant")]
        assert len(tables) == 2
        for table in tables:
            lines = table.splitlines()
            assert len(lines) == 2 + len(SIX)
            assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {12}
            assert lines[2].startswith("| **`max`** | 3 | ")
        assert "Δ to `max`, points" in text
        assert "![Test score of every variant, one panel for each block](accuracy.svg)" in text
        assert "| machine | Example CPU @ 3 GHz |" in text
        assert "poolbench train -m 'pooling=glob(*)' name=example" in text
        assert "/somewhere" not in text
        assert "RuntimeError: a \\| b" in text
        assert "revision 0123456789ab |" in text

    def test_markdown_escapes_a_pipe_in_a_name(self, results: Any) -> None:
        results.add("max")
        results.add("a|b")
        printed(results)
        assert "| `a\\|b` |" in (results.folder / "summary.md").read_text()


def test_imports_are_light(results: Any) -> None:
    results.add()
    program = (
        "import sys, pathlib, poolbench.report.make\n"
        "late = {'matplotlib', 'scipy.stats'} & set(sys.modules)\n"
        "poolbench.report.make.make_report(pathlib.Path(sys.argv[1]))\n"
        "never = {'torch', 'lightning', 'hydra', 'omegaconf', 'wandb', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "print(sorted(late), sorted(never))"
    )
    command = [sys.executable, "-c", program, str(results.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] []"
