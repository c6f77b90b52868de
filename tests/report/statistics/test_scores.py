"""Scores that are no hits, in statistics and tables: sign, margin, sources of noise, blocks of unlike scores."""

import io
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy import stats

from poolbench.record import OUTCOMES_FILE, read_record, write_bytes
from poolbench.report.figures import forest, profile
from poolbench.report.looks import marks
from poolbench.report.make import gather
from poolbench.report.page.build import _over_glances
from poolbench.report.reading.loading import load
from poolbench.report.statistics.paired import OnImages, over_sets, paired
from poolbench.report.text import markdown

ERROR = {"name": "mean_absolute_error", "unit": "m", "better": "lower", "margin": "per cent"}
OUTLINES = {"name": "boundary_f", "unit": "fraction of 1", "better": "higher", "margin": "points"}
IOU = {"name": "mean_iou", "unit": "fraction of 1", "better": "higher", "margin": "points"}


def add(
    results: Any,
    variant: str,
    seed: int,
    scores: Any,
    score: dict[str, str] = ERROR,
    further: Any = None,
    **labels: Any,
) -> dict[str, Any]:
    """Write a record of a task that has this score, each test example's own beside it; `further`: by `OUTLINES`."""
    record: dict[str, Any] = results.add(variant, seed, **labels)
    name, scores = score["name"], np.asarray(scores, dtype=np.float64)
    buffer = io.BytesIO()
    beside = {} if further is None else {OUTLINES["name"]: further}
    np.savez_compressed(buffer, target=np.arange(len(scores)), score=scores, **beside)
    write_bytes(results.folder / "records" / record["run_id"] / OUTCOMES_FILE, buffer.getvalue())
    record |= {
        "task": {"name": "own", "score": score},
        "metrics": {f"test_{name}": float(scores.mean()), f"val_{name}": 1.0, "test_loss": 1.0, "rest": 0.25},
        "data": {"test_images": len(scores)},
        "files": {OUTCOMES_FILE: sha256(buffer.getvalue()).hexdigest()},
    }
    if further is not None:
        record["task"]["beside"] = [OUTLINES]
        record["metrics"] |= {OUTLINES["name"]: float(np.mean(further))}
    results.write(record)
    return record


def arms(results: Any, changes: dict[str, float], score: dict[str, str] = ERROR, **labels: Any) -> None:
    """Write 4 seeds of each arm, which is off by its change from the reference, on 200 examples."""
    for seed in range(4):
        draw = np.random.default_rng(seed)
        base = 2 + draw.exponential(1, 200)
        for variant, change in {"max": 0.0, **changes}.items():
            add(results, variant, seed, base + change + 0.01 * draw.standard_normal(200), score, **labels)


def row(results: Any, table: str, variant: str) -> pd.Series:
    found = gather(load(results.folder)).tables[table]
    return found[found["variant"] == variant].iloc[0]


def test_a_lower_error_is_better_and_its_difference_below_zero(results: Any) -> None:
    arms(results, {"avg": -0.2, "gap": 0.2, "avg_topk": 0.0})
    content = gather(load(results.folder))
    scores = content.tables["scores"].set_index("variant")
    assert scores["verdict"].to_dict() == {"max": "reference", "avg": "better", "gap": "worse", "avg_topk": "tie"}
    assert scores.loc["avg", "difference_mean"] == pytest.approx(-0.2, abs=0.01)
    assert scores.loc["avg", "difference_holm_low"] < scores.loc["avg", "difference_holm_high"] < 0
    assert 0 < scores.loc["gap", "difference_holm_low"] < scores.loc["gap", "difference_holm_high"]
    # Half a per cent of the reference's mean, which is about 3.
    assert scores.loc["avg", "margin"] == pytest.approx(0.005 * scores.loc["max", "score_mean"])
    assert abs(scores.loc["avg_topk", ["tie_low", "tie_high"]]).max() < scores.loc["avg_topk", "margin"]
    assert content.tables["accuracy"].empty
    text = markdown.summary(content)
    assert "better than max" in text
    assert "lower is better" in text
    assert "−0.20" in text
    assert f"tie within {scores.loc['avg', 'margin']:.3g} m" in text


def test_a_higher_fraction_is_better_in_points(results: Any) -> None:
    arms(results, {"avg": 0.3}, IOU)
    content = gather(load(results.folder))
    assert row(results, "scores", "avg")["verdict"] == "better"
    assert row(results, "scores", "avg")["margin"] == 0.005
    assert "test mean IoU, %" in markdown.summary(content)


def test_the_variances_of_scores_are_those_of_the_analysis_of_variance() -> None:
    draw = np.random.default_rng(0)
    d = 0.3 * draw.standard_normal((4, 1)) + draw.standard_normal((1, 50)) + 0.2 * draw.standard_normal((4, 50))
    found = paired(d.mean(axis=1), d, binary=False)
    ms_examples = 4 * ((d.mean(0) - d.mean()) ** 2).sum() / 49
    rest = d - d.mean(0) - d.mean(1)[:, None] + d.mean()
    ms_rest = (rest**2).sum() / (3 * 49)
    assert found.seed_variance == pytest.approx(d.mean(1).var(ddof=1) / 4)
    assert found.image_variance == pytest.approx((ms_examples - ms_rest) / 200)
    assert found.rest_variance == pytest.approx(ms_rest)
    # Where the examples add nothing, it is the paired t.
    alike = np.repeat(d.mean(1)[:, None], 50, axis=1)
    t = stats.ttest_1samp(d.mean(1), 0)
    assert paired(alike.mean(axis=1), alike, binary=False).p == pytest.approx(t.pvalue)
    # Of two blocks on the same examples, their sum over them.
    both = over_sets(d.mean(axis=1), [OnImages(2 * d, 2)], binary=False)
    assert both.image_variance == pytest.approx(found.image_variance)


def test_scores_that_do_not_fit_their_record_are_refused(results: Any) -> None:
    add(results, "max", 0, np.ones(50))
    add(results, "max", 1, np.full(50, 2.0))
    path = next(results.folder.glob("records/*-s1-*/record.json"))
    record = read_record(path)
    record["metrics"]["test_mean_absolute_error"] = 1.9
    results.write(record)
    (problem,) = load(results.folder).problems
    assert problem.reason == "test_mean_absolute_error is 1.9, its images' outcomes say 2: edited by hand?"


def test_only_blocks_of_one_score_are_averaged_and_others_ranked(results: Any) -> None:
    changes = {"avg": 0.1, "gap": 0.2, "avg_topk": 0.3}
    turned = {name: -change for name, change in changes.items()}
    for dataset in ("a", "b"):
        arms(results, turned, ERROR, dataset=dataset)
    for dataset in ("c", "d", "e", "f"):
        arms(results, changes, IOU, dataset=dataset)
    content = gather(load(results.folder))
    over = content.tables["over_blocks"].set_index(["variant", "score"])
    assert over["n_blocks"].to_dict() == {
        **{(name, "mean_absolute_error"): 2 for name in changes},
        **{(name, "mean_iou"): 4 for name in changes},
    }
    assert (over["verdict"] == "better").all()
    assert over.loc[("avg", "mean_absolute_error"), "difference_mean"] == pytest.approx(-0.1, abs=0.01)
    assert over.loc[("avg", "mean_iou"), "difference_mean"] == pytest.approx(0.1, abs=0.01)
    across = content.across
    assert across.variants == ("avg_topk", "gap", "avg", "max")
    assert across.average_ranks.tolist() == [1, 2, 3, 4]
    assert across.score is None
    table = content.tables["across"]
    assert table["gap_mean"].isna().all()
    assert table["best_on"].tolist() == [6, 0, 0, 0]
    pairs = content.tables["pairs"]
    assert pairs["difference_mean"].isna().all()
    # Every difference of ranks has the same sign on 6 data sets.
    assert pairs["p_wilcoxon"].tolist() == pytest.approx([2 / 2**6] * 6)
    assert any("scores of different names or units" in said for said in across.left_out)


def test_what_stands_beside_the_score_is_tabled(results: Any) -> None:
    arms(results, {"avg": 0.1})
    metrics = gather(load(results.folder)).tables["metrics"]
    assert sorted(metrics["metric"].unique()) == ["rest", "test_loss"]
    assert metrics[metrics["metric"] == "rest"]["value_mean"].tolist() == [0.25, 0.25]


def test_arms_are_compared_by_further_scores_too(results: Any) -> None:
    for seed in range(3):
        draw = np.random.default_rng(seed)
        iou, outlines = draw.uniform(0.7, 0.9, 100), draw.uniform(0.5, 0.8, 100)
        for variant, by_iou, by_outlines in (("max", 0, 0), ("avg", 0.0001, -0.05), ("gap", 0.05, 0.0001)):
            noise = 0.001 * draw.standard_normal(100)
            add(results, variant, seed, iou + by_iou + noise, IOU, outlines + by_outlines + noise)
    content = gather(load(results.folder))
    assert list(content.tables["scores"]["verdict"]) == ["reference", "tie", "better"]
    beside = content.tables["beside"].set_index("variant")
    assert beside["verdict"].to_dict() == {"max": "reference", "avg": "worse", "gap": "tie"}
    assert set(beside["score"]) == {"boundary_f"}
    assert beside.loc["avg", "difference_mean"] == pytest.approx(-0.05, abs=0.001)
    assert beside.loc["avg", "difference_noise"] == "seeds and images"
    text = markdown.summary(content)
    assert "by boundary F, against max: worse: avg (−4.99 points); tie within 0.5 points: gap." in text
    # As if it had been the primary score: the same figures.
    for folder in (results.folder / "records").iterdir():
        record = read_record(folder / "record.json")
        record["task"] = {"name": "own", "score": OUTLINES}
        with np.load(folder / OUTCOMES_FILE) as arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, target=arrays["target"], score=arrays["boundary_f"])
        write_bytes(folder / OUTCOMES_FILE, buffer.getvalue())
        record["files"][OUTCOMES_FILE] = sha256(buffer.getvalue()).hexdigest()
        record["metrics"]["test_boundary_f"] = record["metrics"].pop("boundary_f")
        results.write(record)
    primary = gather(load(results.folder)).tables["scores"]
    pd.testing.assert_frame_equal(primary, content.tables["beside"])


def test_a_further_score_that_does_not_fit_its_outcomes_is_refused(results: Any) -> None:
    add(results, "max", 0, np.full(50, 0.8), IOU, np.full(50, 0.6))
    record = add(results, "max", 1, np.full(50, 0.8), IOU, np.full(50, 0.6))
    record["metrics"]["boundary_f"] = 0.7
    results.write(record)
    (problem,) = gather(load(results.folder)).problems
    assert problem.reason == "test_boundary_f is 0.7, its images' outcomes say 0.6: edited by hand?"


def test_the_margin_is_a_share_of_the_own_references_mean(results: Any) -> None:
    for seed in range(4):
        noise = 0.01 * np.random.default_rng(seed).standard_normal(200)
        for rate, size in ((0.1, 1.0), (0.01, 100.0)):
            config = {"protocol": {"optimizer": {"name": "adamw", "lr": rate}}}
            for dataset in ("a", "b"):
                for variant, change in (("max", 0.0), ("avg" if size == 1 else "gap", 0.1)):
                    scores = size + change + noise * (variant != "max")
                    add(results, variant, seed, scores, config=config, dataset=dataset, fingerprint=dataset)
    tables = gather(load(results.folder)).tables
    for name in ("scores", "over_blocks"):
        found = tables[name].set_index("variant").groupby("variant").first()
        # A change of 0.1 beside 1 is ten per cent, beside 100 a tenth of one.
        assert found.loc["avg", "margin"] == pytest.approx(0.005)
        assert found.loc["gap", "margin"] == pytest.approx(0.5)
        assert found.loc[["avg", "gap"], "verdict"].tolist() == ["worse", "tie"]


def test_blocks_of_unlike_units_are_never_mixed(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for unit, change, number in (("mm", 0.2, 2), ("years", -0.4, 3)):
        for at in range(number):
            arms(results, {"avg": change}, ERROR | {"unit": unit}, dataset=f"{unit}{at}", fingerprint=f"{unit}{at}")
    content = gather(load(results.folder))
    assert [one.score.unit for one in content.over_blocks] == ["mm", "years"]
    assert "avg (mean absolute error, years, 3 blocks, −0.399 years) is better" in content.spoken[0]
    assert "avg (mean absolute error, mm, 2 blocks, +0.201 mm) is worse" in content.spoken[0]
    assert "Mean over 2 blocks by mean absolute error, mm, which" in content.words[1]
    assert "Mean over 3 blocks by mean absolute error, years, which" in content.words[2]
    # On the page a variant has one place at a glance, and here two means.
    assert _over_glances(content) == {}
    drawn: list[Any] = []
    monkeypatch.setattr(forest, "_panel", lambda _, rows, look: drawn.append(rows))
    figure = forest.draw(content)
    assert [row["unit"] for row in drawn[0]] == ["mm"]
    assert figure is not None
    assert any(text.get_text().startswith("Mean over 2 blocks, against max") for text in figure.findobj(Text))


def test_gaps_of_small_errors_have_the_scores_digits(results: Any) -> None:
    for dataset in ("a", "b"):
        for seed in range(2):
            for variant, size in (("max", 0.001), ("avg", 0.0012)):
                add(results, variant, seed, np.full(20, size), dataset=dataset, fingerprint=dataset)
    found = gather(load(results.folder))
    figure = profile.draw(found.across, marks(found.blocks))
    assert figure is not None
    shown = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert shown == ["max  0.000000", "avg  0.000200"]
