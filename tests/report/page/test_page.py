"""report.html as a file: what is in it, that nothing in it is taken for markup, that it asks nothing of a network."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from poolbench.record import write_json
from poolbench.report import page
from poolbench.report.content import Content
from poolbench.report.make import gather
from poolbench.report.page import build
from poolbench.report.page.data import MOST_EPOCHS, compact, script_json
from poolbench.report.reading.loading import load
from poolbench.report.tables.columns import names
from poolbench.report.text.across import across_words
from poolbench.score import ACCURACY, Score

HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", '{{ 7*7 }} "q" $x$ [', "a]]>&amp;b'"]
VOID = {"meta", "link", "input", "br", "img", "hr", "wbr"}


def content(results: Any) -> Content:
    return gather(load(results.folder))


def small(results: Any) -> Content:
    results.grid(blocks=[("slides", "digits"), ("resnet18", "digits")], variants=["max", "avg", "gap"], seeds=3)
    return content(results)


class Parsed(HTMLParser):
    """The elements of a page with their attributes and texts; fails where elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.broken = False
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        # A name that may break is one name.
        self.broken = tag == "wbr"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self.open and self.open[-1] != "style":
            self.texts.append((self.texts.pop() if self.broken else "") + data)
        self.broken = False

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(next(text for attrs, text in self.scripts if attrs.get("id") == "data"))
        return found


def parsed(made: Content) -> Parsed:
    return Parsed(page.html(made).decode())


class TestWhatIsSaid:
    def test_question_verdict_and_counts_stand_before_the_tables(self, results: Any) -> None:
        results.add("avg", 3, status="failed", reason="RuntimeError: no memory\nTraceback")
        results.add("avg", 4, status="diverged", reason="loss is nan")
        write_json(results.folder / "experiment.json", {"question": "Is avg as good?", "expected": "Nearly."})
        made = small(results)
        text = parsed(made).text
        places = [
            text.index(part)
            for part in (
                "Is avg as good?",
                made.words[0],
                "Expected before the runs: Nearly.",
                "finished",
                "RuntimeError: no memory",
                "At a glance",
                "Where the numbers come from",
            )
        ]
        assert places == sorted(places)
        assert re.search(r"finished 18 failed 1 diverged 1", text)

    def test_every_sentence_is_there(self, results: Any) -> None:
        made = small(results)
        text = parsed(made).text
        for sentence in (*made.words, *made.warnings, *made.head, *across_words(made.across), *made.across.left_out):
            assert " ".join(sentence.split()) in text

    def test_published_figures_stand_apart(self, results: Any) -> None:
        row = {"variant": "avg", "dataset": "digits", "backbone": "slides", "test_accuracy": 0.9876}
        row |= {"source": "Doe 2019, Table 3", "recipe": "300 epochs"}
        write_json(results.folder / "experiment.json", {"published": [row]})
        found = parsed(small(results))
        assert "98.76" in found.text
        assert found.text.index("Beside published figures") < found.text.index("98.76") < found.text.index("Doe 2019")
        assert "0.9876" not in json.dumps(found.data)

    @pytest.mark.parametrize(("datasets", "said"), [(("digits",), False), (("digits", "letters"), True)])
    def test_data_sets_are_compared_where_there_are_several(
        self, results: Any, datasets: tuple[str, ...], said: bool
    ) -> None:
        results.grid(blocks=[("slides", name) for name in datasets], variants=["max", "avg"], seeds=3)
        found = parsed(content(results))
        assert ("Over all data sets" in found.text) is said
        assert any(attrs.get("id") == "across" for _, attrs in found.elements) is said

    def test_origin(self, results: Any) -> None:
        results.add("lp", 0, provenance={"dirty": True})
        text = parsed(small(results)).text
        assert "poolbench train -m 'pooling=glob(*)' name=example" in text
        assert "not the code of that revision alone" in text
        assert "Example CPU @ 3 GHz" in text

    def test_without_a_finished_cell(self, results: Any) -> None:
        results.add(status="failed", reason="no")
        text = parsed(content(results)).text
        assert "No cell finished" in text
        assert "failed 1" in text

    def test_tables_without_scripts(self, results: Any) -> None:
        made = small(results)
        text = page.html(made).decode()
        static = text[text.index("<noscript>") : text.index("</noscript>")]
        assert static.count("<tr>") == len(made.views) + sum(len(view.rows) for view in made.views)


class TestStructure:
    def test_landmarks_headings_and_labels(self, results: Any) -> None:
        found = parsed(small(results))
        tags = [tag for tag, _ in found.elements]
        assert [tags.count(tag) for tag in ("h1", "main", "header", "footer", "nav", "dialog")] == [1] * 6
        levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
        assert all(after - before <= 1 for before, after in pairwise(levels))
        ids = [attrs["id"] for _, attrs in found.elements if attrs.get("id")]
        assert len(ids) == len(set(ids))
        for _, attrs in found.elements:
            for key in ("aria-labelledby", "aria-describedby"):
                assert set((attrs.get(key) or "").split()) <= set(ids)
            if (attrs.get("href") or "").startswith("#"):
                assert (attrs["href"] or "")[1:] in ids
        assert dict(found.elements)["html"]["lang"] == "en"
        assert all(attrs.get("type") == "button" for tag, attrs in found.elements if tag == "button")

    def test_every_part_that_the_script_asks_for_is_there(self, results: Any) -> None:
        found = parsed(small(results))
        ids = {attrs.get("id") for _, attrs in found.elements}
        asked = set(re.findall(r'(?:byId|getElementById)\("([\w-]+)"\)', found.scripts[-1][1]))
        assert len(asked) > 20
        assert asked <= ids

    def test_nothing_is_fetched(self, results: Any) -> None:
        found = parsed(small(results))
        for tag, attrs in found.elements:
            assert "src" not in attrs
            for key in ("href", "action", "data", "poster"):
                assert not re.match(r"(?i)\s*(https?:)?//", attrs.get(key) or ""), (tag, attrs)
        style = (files(page) / "page.css").read_text()
        assert "url(" not in style
        assert "@import" not in style
        own = found.scripts[-1][1]
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon", own)

    @pytest.mark.slow
    def test_policy_lets_only_these_scripts_run(self, results: Any) -> None:
        found = parsed(small(results))
        policy = next(
            attrs["content"] or ""
            for _, attrs in found.elements
            if attrs.get("http-equiv") == "Content-Security-Policy"
        )
        assert "default-src 'none'" in policy
        assert policy.count("sha256-") == 2
        assert "unsafe-eval" not in policy
        assert "script-src 'sha256-" in policy
        assert [attrs.get("type") for attrs, _ in found.scripts] == ["application/json", None, None]
        assert found.scripts[1][1] == vl_convert.javascript_bundle()  # type: ignore[call-arg]


class TestEscaping:
    def test_names_and_reasons_stay_texts(self, results: Any) -> None:
        for seed in range(3):
            results.add("max", seed, 0.9)
            for name in HOSTILE:
                results.add(name, seed, 0.9 + 0.01 * seed, backbone="slides", dataset="digits<b>")
        results.add("max", 9, status="failed", reason="</script><b>boom</b>")
        write_json(results.folder / "experiment.json", {"question": "<b>Is it?</b> {{ 7*7 }}"})
        found = parsed(content(results))
        assert len(found.scripts) == 3
        tags = {tag for tag, _ in found.elements}
        assert not tags & {"img", "b"}
        assert not [attrs for _, attrs in found.elements if any(key.startswith("on") for key in attrs)]
        assert "<b>Is it?</b> {{ 7*7 }}" in found.text
        names = next(column for column in found.data["columns"] if column["name"] == "variant")["words"]
        assert set(HOSTILE) <= set(names)
        for name in HOSTILE:
            assert " ".join(name.split()) in found.text

    def test_script_json_ends_no_script(self) -> None:
        value = {"a": "</script><!--<script>&\u2028\u2029"}
        text = script_json(value)
        assert not set("<>&\u2028\u2029") & set(text)
        assert json.loads(text) == value

    def test_no_value_that_json_lacks(self, results: Any) -> None:
        results.add(seed=0, accuracy=None, metrics={"ece": None})
        found = parsed(content(results))
        assert found.data["cells"]["test_accuracy"] == [None]


class TestData:
    def test_summary_by_columns(self, results: Any) -> None:
        made = small(results)
        data = compact(made)
        summary = made.tables["summary"]
        assert [column["name"] for column in data["columns"]] == list(summary.columns)
        by_name = {column["name"]: column for column in data["columns"]}
        mean = by_name["test_accuracy_mean"]["values"]
        assert mean == pytest.approx(list(summary["test_accuracy_mean"]), rel=1e-5)
        verdicts = [by_name["verdict"]["words"][at] for at in by_name["verdict"]["values"]]
        assert verdicts == list(summary["verdict"])
        assert {column["group"] for column in data["columns"]} == {"Accuracy", "Comparison", "Size and work", "Speed"}

    def test_cells_with_what_they_share_written_once(self, results: Any) -> None:
        data = compact(small(results))
        assert len(data["cells"]["run"]) == len(data["details"]) == 18
        shared = data["shared"]
        details = list(data["details"].values())
        assert len({detail["provenance"] for detail in details}) == 1
        assert shared[details[0]["config"]["protocol"]]["epochs"] == 10
        assert shared[details[0]["audit"]]["sites"][0]["operator"] == "MaxPool2d"
        assert len(details[0]["history"]["epoch"]) == 10

    def test_many_cells_are_held_in_part(self, results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("poolbench.report.page.data.MOST_DETAILED", 4)
        monkeypatch.setattr("poolbench.report.page.build.MOST_DETAILED", 4)
        results.add("avg", 7, status="failed", reason="no memory")
        made = small(results)
        found = parsed(made)
        cells = found.data["cells"]
        chosen = [int(place) for place in found.data["details"]]
        assert len(chosen) == 4
        statuses = [found.data["shared"][cells["status"][place]] for place in chosen]
        assert statuses.count("failed") == 1
        assert {cells["seed"][place] for place in chosen} == {0, 7}
        assert "This page holds the details of 4 of the 19 cells" in found.text

    def test_long_curves_are_thinned_to_the_last_epoch(self, results: Any) -> None:
        record = results.add()
        history = [{"epoch": epoch, "val_loss": 1 / (epoch + 1)} for epoch in range(350)]
        results.write(record | {"history": history})
        data = compact(content(results))
        epochs = data["details"]["0"]["history"]["epoch"]
        assert len(epochs) <= MOST_EPOCHS
        assert epochs[-1] == 349


class TestSize:
    @pytest.mark.slow
    def test_two_hundred_cells(self, results: Any) -> None:
        variants = ["max", *(f"variant_{index}" for index in range(9))]
        results.grid(blocks=[("slides", f"data_{index}") for index in range(4)], variants=variants, seeds=5)
        for path in (results.folder / "records").glob("*/record.json"):
            record = json.loads(path.read_text())
            # Figures that do not compress by being equal.
            record["history"] = [
                {name: (7 * epoch + at + record["seed"]) / 977 for at, name in enumerate(("train_loss", "val_loss"))}
                | {"epoch": epoch, "train_accuracy": epoch / 211, "val_accuracy": epoch / 223, "learning_rate": 1 / 7}
                for epoch in range(200)
            ]
            results.write(record)
        made = content(results)
        assert len(made.records) == 200
        assert len(page.html(made)) < 3_000_000

    def test_equal_content_gives_equal_bytes(self, results: Any) -> None:
        made = small(results)
        assert page.html(made) == page.html(content(results))
        # Nothing of the clock: the only dates are those of the records.
        assert set(re.findall(r"20\d\d-\d\d-\d\d", script_json(compact(made)))) == {"2026-01-01"}


def test_parts_are_read_from_the_package() -> None:
    found = {entry.name for entry in files(page).iterdir()}
    assert {"page.html.j2", "page.css", "start.js", "plots.js", "tables.js", "cells.js"} <= found
    for name in ("start.js", "plots.js", "tables.js", "cells.js"):
        assert "</script" not in (files(page) / name).read_text()


def test_nothing_of_this_machine(results: Any, tmp_path: Path) -> None:
    assert str(tmp_path) not in page.html(small(results)).decode()


@pytest.mark.parametrize(
    ("score", "heading", "text"),
    [
        (ACCURACY, "mean accuracy, %", "123.40"),
        (Score("mean_iou", "fraction of 1", "higher", "points"), "mean IoU, %", "123.40"),
        (Score("error", "degrees", "lower", "per cent"), "mean error, degrees", "1.23"),
    ],
)
def test_the_mean_over_data_sets_is_of_their_score(
    score: Score, heading: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "across_words", lambda _: [])
    arms = pd.DataFrame([{"variant": "avg", "score_mean": 1.234, "test_accuracy_mean": 1.234}], columns=names("across"))
    if score != ACCURACY:
        arms["test_accuracy_mean"] = None
    pairs = pd.DataFrame([{"variant": "avg", "other": "max", "p_nemenyi": 0.5}] * 201, columns=names("pairs"))
    over = SimpleNamespace(variants=("avg",), score=score, accuracy=np.array([[score.sign * 1.234]]), left_out=())
    across, every_two = build._across(SimpleNamespace(across=over, tables={"across": arms, "pairs": pairs}))["tables"]
    assert (across.headings, across.rows) == (("variant", heading), (("avg", text),))
    assert len(every_two.rows) == 200
    assert every_two.caption == "Every two variants: the first 200 of 201 pairs; pairs.csv has all"


def test_the_units_of_further_scores_are_given(results: Any) -> None:
    score = {"name": "mean_iou", "unit": "fraction of 1", "better": "higher", "margin": "points"}
    beside = [score | {"name": "boundary_f"}, score | {"name": "offset", "unit": "pixels", "better": "lower"}]
    task = {"name": "segmentation", "score": score, "beside": beside}
    record = results.add("max", 0, metrics={"test_mean_iou": 0.9, "boundary_f": 0.8, "offset": 1.5})
    results.write(record | {"task": task})
    (block,) = compact(content(results))["blocks"]
    assert block["score"]["units"] == {"mean_iou": "%", "boundary_f": "%", "offset": "pixels"}
