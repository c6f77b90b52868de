"""Names that are not UTF-8, as those of folders need not be: every file of a report can be written."""

import io
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from poolbench.record import write_json
from poolbench.report import figures, page
from poolbench.report.encodable import encodable_table
from poolbench.report.make import gather, make_report, table_files
from poolbench.report.reading.loading import load
from poolbench.report.versus import make_versus
from poolbench.serve.watched import Watched

NAME = "caf\udce9"


@pytest.fixture
def strange(new_results: Callable[[str], Any]) -> Any:
    results = new_results(NAME)
    for seed in range(3):
        for variant in ("max", "avg"):
            results.add(variant, seed, 0.9 + 0.01 * seed, dataset=NAME, config={"dataset": {"root": f"/data/{NAME}"}})
    figure = {"variant": "max", "dataset": NAME, "backbone": "slides", "test_accuracy": 0.9, "source": NAME}
    write_json(results.folder / "experiment.json", {"question": NAME, "published": [figure | {"recipe": NAME}]})
    return results


def test_a_report_is_written_whole(strange: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DRAWINGS", {"forest": figures.DRAWINGS["forest"]})
    made = make_report(strange.folder, console=Console(file=io.StringIO()))
    names = {path.name for path in made.files}
    assert {"summary.md", "summary.tex", "report.html", "accuracy.parquet", "published.csv", "forest.svg"} <= names
    assert "slides on caf?" in (strange.folder / "summary.md").read_text()
    table = pd.read_parquet(io.BytesIO((strange.folder / "accuracy.parquet").read_bytes()))
    assert table["dataset"].tolist() == ["caf?"] * 2
    text = page.html(gather(load(strange.folder))).decode()
    data = text[text.index('id="data"') :].partition(">")[2].partition("</script>")[0]
    assert "/data/caf?" in json.dumps(json.loads(data))


def test_so_are_a_comparison_and_what_is_served(strange: Any) -> None:
    made = make_versus(strange.folder, strange.folder, console=Console(file=io.StringIO()))
    assert any(path.name == "versus.parquet" for path in made.files)
    served = Watched("strange", strange.folder).made()
    assert served.without == ""
    assert b"slides on caf?" in served.files["summary.md"]


def test_tables_keep_what_is_no_text() -> None:
    table = pd.DataFrame({"text": pd.Series([NAME, ""], dtype=object), "number": [0.5, None]})
    assert table_files({"some": table})["some.csv"] == b"text,number\ncaf?,0.5\n,\n"
    kept = table.iloc[1:]
    assert encodable_table(kept) is kept
