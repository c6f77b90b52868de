"""What the figures show, what they leave out, and that their words can be read."""

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from poolbench.report import figures, looks
from poolbench.report.content import Content
from poolbench.report.figures import accuracy, cost, curves, forest, marks, panels, style, tradeoff
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.text.views import rows_by_arm

QUICKSTART = Path(__file__).parents[3] / "results" / "reference" / "quickstart"
LONG = "min[alpha=0.25,protocol.optimizer.weight_decay=0.0005,protocol.optimizer.momentum=0.95]"
NAMES = ["max", "avg", "strided_conv", "avg_topk[k=3]", "class_maps_gap", LONG]


def content(results: Any) -> Content:
    return gather(load(results.folder))


@pytest.fixture
def styled() -> Iterator[None]:
    with style.applied():
        yield


@pytest.fixture(scope="module")
def quickstart() -> Content:
    return gather(load(QUICKSTART))


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Callable[[Figure], list[tuple[str, Bbox]]]:
    """Give the texts that are drawn of a figure, with the boxes that they take on its canvas."""
    found: list[tuple[str, Bbox]] = []
    draw = Text.draw

    def noted(self: Text, renderer: Any, *given: Any, **named: Any) -> None:
        draw(self, renderer, *given, **named)
        if self.get_text().strip() and self.get_visible():
            found.append((self.get_text(), Text.get_window_extent(self, renderer)))

    def of(figure: Figure) -> list[tuple[str, Bbox]]:
        found.clear()
        FigureCanvasAgg(figure).draw()
        return list(found)

    monkeypatch.setattr(Text, "draw", noted)
    return of


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def collections(figure: Figure, kind: type) -> list[Any]:
    return [each for axes in figure.axes for each in axes.collections if type(each) is kind]


class TestFiles:
    def test_the_quickstart_has_every_figure_of_its_two_data_sets(self, quickstart: Content) -> None:
        made = figures.files(quickstart)
        assert {name.partition(".")[0] for name in made} >= {"accuracy", "forest", "tradeoff", "cost", "curves"}
        assert set(made) <= set(figures.NAMES)
        assert all(data.startswith(b"\x89PNG") for name, data in made.items() if name.endswith(".png"))
        assert all(b"<svg" in data for name, data in made.items() if name.endswith(".svg"))

    @pytest.mark.slow
    def test_equal_contents_give_equal_bytes(self, results: Any) -> None:
        results.grid(blocks=[("slides", "digits"), ("slides", "letters")], variants=NAMES[:3], seeds=3)
        once = figures.files(content(results))
        # What a user has set for figures of their own changes nothing.
        with mpl.rc_context({"font.size": 20, "lines.linewidth": 5, "axes.grid": True}):
            again = figures.files(content(results))
        assert once == again
        assert len(once) >= 10

    def test_what_has_nothing_to_show_is_left_out(self, results: Any) -> None:
        results.grid(blocks=[("slides", "digits")], variants=["max"], seeds=1, speed=False)
        # One arm has no difference and no trade-off, but an accuracy, a cost and a history.
        assert {name.partition(".")[0] for name in figures.files(content(results))} == {"accuracy", "cost", "curves"}

    def test_no_finished_cell(self, results: Any) -> None:
        results.add(status="failed", reason="out of memory")
        made = figures.files(content(results))
        assert set(made) == {"accuracy.svg", "accuracy.png"}

    def test_records_that_lack_what_is_drawn(self, results: Any) -> None:
        for seed in range(2):
            results.add("max", seed, 0.9, cost={"parameters": None, "multiply_adds": None}, audit={"sites": []})
            results.add("avg", seed, None)
            results.add("gap", seed, 0.8, status="failed")
            record = results.add("min", seed, 0.7)
            record["history"] = [{"epoch": 0, "val_accuracy": None}, {"epoch": 1, "train_loss": math.nan}]
            results.write(record)
        assert {"accuracy.png", "forest.png", "cost.png", "curves.png"} <= set(figures.files(content(results)))

    @pytest.mark.slow
    def test_what_a_record_holds_in_another_form(self, results: Any) -> None:
        for name in ("max", "_avg", "平均"):
            record = results.add(name)
            record["history"] = [{"epoch": e, "train_loss": -1.0, "val_accuracy": 0.9} for e in range(3)] + ["text"]
            results.write(record)
        assert "curves.png" in figures.files(content(results))

    @pytest.mark.slow
    def test_a_speed_that_only_arms_beyond_the_room_have(self, results: Any) -> None:
        known = {"parameters": None, "kept_bytes": None}
        for index in range(panels.MOST_ARMS + 2):
            record = results.add(f"v{index:02}" if index else "max", cost=known)
            if index >= panels.MOST_ARMS:
                results.speed(record, record)
        assert "tradeoff.png" not in figures.files(content(results))


class TestWords:
    @pytest.mark.quick(1)
    @pytest.mark.usefixtures("styled")
    @pytest.mark.parametrize("name", ["accuracy", "forest", "tradeoff", "cost", "curves"])
    @pytest.mark.parametrize("blocks", [1, 3])
    def test_none_lies_on_another_or_beyond_the_edge(self, results: Any, words: Any, name: str, blocks: int) -> None:
        known = {"kept_bytes": 123_456_789, "pooling_operations": 4_480, "pooling_bytes_read": 10_240}
        for block in range(blocks):
            backbone = ("slides", "a_backbone_with_a_name[depth=101,width=2]")[block % 2]
            reference: dict[str, Any] = {}
            for place, variant in enumerate(NAMES):
                for seed in range(3):
                    record = results.add(
                        *(variant, seed, 0.9 - 0.01 * place + 0.004 * seed),
                        backbone=backbone,
                        dataset=f"digits[noise={block}]",
                        cost=known | {"pooling_bytes_written": 2_560 * (1 + place), "kept_bytes": 10**8 * (1 + place)},
                    )
                reference = reference or record
                results.speed(record, reference, training=12_345.6 * (1 + 0.2 * place))
        figure = figures.DRAWINGS[name](content(results))
        assert figure is not None
        drawn = words(figure)
        assert len(drawn) > 12
        for (one, box), (other, its) in combinations(drawn, 2):
            assert not box.overlaps(its), f"{one!r} lies on {other!r}"
        for text, box in drawn:
            assert figure.bbox.x0 <= box.x0, text
            assert box.x1 <= figure.bbox.x1, text
            assert figure.bbox.y0 <= box.y0, text
            assert box.y1 <= figure.bbox.y1, text

    @pytest.mark.usefixtures("styled")
    def test_what_there_is_no_room_for_is_said(self, results: Any) -> None:
        for index in range(panels.MOST_ARMS + 5):
            results.add(f"v{index:02}" if index else "max", cost={"multiply_adds": 1_000 + index})
        held = content(results)
        more = "Not drawn: 5 further variants in the panels above; the tables hold all."
        assert more in texts(accuracy.draw(held))
        for draw in (tradeoff.draw, cost.draw):
            figure = draw(held)
            assert figure is not None
            assert more in texts(figure)

    @pytest.mark.usefixtures("styled")
    def test_blocks_beyond_the_room_are_said(self, results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(panels, "MOST_ROWS", 3)
        results.grid(blocks=[("slides", name) for name in "abc"], variants=["max", "avg"], seeds=1, speed=False)
        figure = accuracy.draw(content(results))
        assert len(figure.axes) == 1
        assert "Not drawn: 2 further blocks; the tables hold all." in texts(figure)

    def test_labels_break_where_they_are_parted(self) -> None:
        assert panels.label("avg_topk") == "avg_topk"
        assert panels.label(LONG).split("\n") == [
            "min",
            "[alpha=0.25, protocol.optimizer.",
            "weight_decay=0.0005, protocol.",
            "optimizer.momentum=0.95]",
        ]
        assert max(len(line) for line in panels.label("x" * 100).split("\n")) == panels.LABEL_WIDTH + 8

    def test_wrapped_lines_fit(self) -> None:
        text = "a_backbone on a_data_set_with_a_long_name[noise=0.25], against max"
        broken = panels.wrapped(text, 2.0, 10)
        assert panels.text_width(broken, 10) <= 2.0
        assert broken.replace("\n", "").replace(" ", "") == text.replace(" ", "")

    def test_settings_are_words(self) -> None:
        text = "lenet5 on cifar10-jpeg75[augment.crop_padding=0,augment.flip=False] (1,000 images)"
        wide, narrow = panels.wrapped(text, 20.0, 10), panels.wrapped(text, 4.5, 10)
        assert wide == text.replace("0,a", "0, a")
        assert narrow.split("\n") == [
            "lenet5 on cifar10-jpeg75[augment.crop_padding=0,",
            "augment.flip=False] (1,000 images)",
        ]


class TestMarks:
    def test_a_variant_looks_alike_in_every_block(self, results: Any) -> None:
        results.grid(blocks=[("slides", "a"), ("slides", "b")], variants=["max", "avg", "gap"], seeds=1)
        look = looks.marks(content(results).blocks)
        assert list(look) == ["max", "avg", "gap"]
        assert look["max"] == looks.REFERENCE
        assert len({(mark.shape, mark.filled) for mark in look.values()}) == 3

    def test_all_of_them_are_told_apart_without_colour(self, results: Any) -> None:
        for index in range(looks.MOST_MARKS + 2):
            results.add(f"v{index:02}" if index else "max", accuracy=0.5 + index / 100)
        look = looks.marks(content(results).blocks)
        own = [mark for mark in look.values() if mark is not looks.OTHER]
        assert len(own) == looks.MOST_MARKS == len({(mark.shape, mark.filled) for mark in own})
        # The most accurate ones are told apart.
        assert [name for name, mark in look.items() if mark is looks.OTHER] == ["v02", "v01"]

    def test_verdicts_differ_in_shape_and_filling(self) -> None:
        drawn = forest.VERDICTS.values()
        assert len({(mark.shape, mark.filled) for mark in drawn}) == len(drawn)

    def test_marks_are_drawn_where_they_belong_as_large_as_they_are_meant(self) -> None:
        figure = Figure(figsize=(2, 2), dpi=72)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(0, 1))
        axes.axis("off")
        marks.draw_marks(axes, np.array([0.25]), np.array([0.75]), [looks.Mark("o", "#ff0000")], size=10)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        red = np.asarray(canvas.buffer_rgba())[..., 1] < 128
        rows, places = np.nonzero(red)
        # A point is a pixel here; the picture's rows begin at the top.
        assert (rows.mean(), places.mean()) == pytest.approx((0.25 * 144, 0.25 * 144), abs=1)
        assert np.ptp(rows) + 1 == pytest.approx(10, abs=1.5)


class TestIntervals:
    @pytest.mark.usefixtures("styled")
    def test_one_seed_has_none(self, results: Any) -> None:
        results.grid(blocks=[("slides", "digits")], variants=["max", "avg", "gap"], seeds=1, speed=False)
        held = content(results)
        for draw in (accuracy.draw, forest.draw):
            figure = draw(held)
            assert figure is not None
            lines = collections(figure, LineCollection)
            assert lines
            assert not [segment for each in lines for segment in each.get_segments() if len(segment)]
        assert "95 % interval, uncorrected" not in texts(forest.draw(held) or Figure())
        trade = tradeoff.draw(held)
        assert trade is not None
        assert not [s for each in collections(trade, LineCollection) for s in each.get_segments() if len(s)]
        curve = curves.draw(held)
        assert curve is not None
        assert not [path for each in collections(curve, PolyCollection) for path in each.get_paths()]

    @pytest.mark.usefixtures("styled")
    def test_forest_draws_the_tables_figures(self, results: Any) -> None:
        results.grid(blocks=[("slides", "digits")], variants=["max", "avg", "gap"], seeds=4, speed=False)
        held = content(results)
        figure = forest.draw(held)
        assert figure is not None
        rows = [row for row in rows_by_arm(held.tables["summary"]).values() if row["variant"] != "max"]
        own, decides, *_ = collections(figure, LineCollection)
        for row, line in zip(rows, own.get_segments(), strict=True):
            assert line[:, 0] == pytest.approx([100 * row["difference_ci95_low"], 100 * row["difference_ci95_high"]])
        for row, line in zip(rows, decides.get_segments(), strict=True):
            assert line[:, 0] == pytest.approx([100 * row["difference_holm_low"], 100 * row["difference_holm_high"]])
        (points,) = collections(figure, PathCollection)
        assert points.get_offsets()[:, 0] == pytest.approx([100 * row["difference_mean"] for row in rows])
        said = texts(figure)
        assert all(said.count(row["verdict"]) >= 1 for row in rows)
        # The reference is what the others are compared with.
        assert "max" not in said


class TestFront:
    def test_by_hand(self) -> None:
        good = np.array([0.90, 0.80, 0.95, 0.70, 0.95, math.nan, 0.99])
        price = np.array([2.00, 1.00, 3.00, 2.50, 4.00, 0.10, math.nan])
        # 0.70 costs more than 0.90 does, the second 0.95 more than the first; what is not known is on no front.
        assert tradeoff.front(good, price).tolist() == [1, 0, 2]

    def test_equal_points_are_all_on_it(self) -> None:
        assert tradeoff.front(np.array([0.9, 0.9, 0.8]), np.array([1.0, 1.0, 1.0])).tolist() == [0, 1]

    def test_nothing_known(self) -> None:
        assert tradeoff.front(np.array([math.nan]), np.array([1.0])).tolist() == []

    @pytest.mark.usefixtures("styled")
    def test_of_speeds_the_fastest_is_on_it(self, results: Any) -> None:
        known = {"kept_bytes": None, "parameters": None}
        best = results.add("max", 0, 0.95, cost=known)
        results.speed(best, best, training=1_000.0)
        for name, reached, speed in (("avg", 0.90, 2_000.0), ("gap", 0.85, 1_500.0), ("min", 0.80, 3_000.0)):
            results.speed(results.add(name, 0, reached, cost=known), best, ratio=speed / 1_000)
        figure = tradeoff.draw(content(results))
        assert figure is not None
        # Neither parameters nor memory are known.
        (axes,) = figure.axes
        (line,) = axes.lines
        assert line.get_xdata()[1:-1] == pytest.approx([3, 2, 1])
        assert line.get_ydata()[1:-1] == pytest.approx([80, 90, 95])
        assert line.get_drawstyle() == "steps-post"

    @pytest.mark.usefixtures("styled")
    def test_costs_far_apart_stand_on_a_logarithmic_axis_within_its_limits(self, results: Any) -> None:
        for name, parameters in (("max", 10_000), ("gap", 1_000_000)):
            results.add(name, cost={"parameters": parameters})
        figure = tradeoff.draw(content(results))
        assert figure is not None
        axes = figure.axes[0]
        assert axes.get_xscale() == "log"
        low, high = axes.get_xlim()
        assert low < 0.01 < 1 < high

    @pytest.mark.usefixtures("styled")
    def test_peak_where_what_is_kept_is_not_known(self, results: Any) -> None:
        for name in ("max", "avg"):
            results.add(name, cost={"peak_bytes": 3 * 2**20})
        figure = tradeoff.draw(content(results))
        assert figure is not None
        assert [axes.get_xlabel() for axes in figure.axes] == [
            "thousand parameters (fewer is better)",
            "memory at its peak, MiB (less is better)",
        ]


class TestCost:
    def test_parts_of_a_bar(self) -> None:
        operations = cost.QUANTITIES[2]
        assert operations.names == ("pooling_operations",)
        known = cost.bar({"pooling_operations": 10}, [{"pooling_operations": 3}, {"pooling_operations": 4}], operations)
        assert known == cost.Bar(10.0, (3.0, 4.0))
        assert known.elsewhere == 3.0
        assert cost.bar({"pooling_operations": 10}, [{}, {}], operations) == cost.Bar(10.0, None)
        assert cost.bar({"pooling_operations": None}, [], operations) is None

    @pytest.mark.usefixtures("styled")
    def test_blocks_of_equal_cost_share_a_panel(self, results: Any) -> None:
        results.grid(blocks=[("slides", "a"), ("slides", "b")], variants=["max", "avg"], seeds=1, speed=False)
        results.grid(blocks=[("resnet18", "a")], variants=["max", "avg"], seeds=1, speed=False)
        figure = cost.draw(content(results))
        assert figure is not None
        assert len(figure.axes) == 2
        assert {"resnet18 on a", "slides on a, b"} <= set(texts(figure))

    @pytest.mark.usefixtures("styled")
    def test_bars_are_as_long_as_their_figures(self, results: Any) -> None:
        site = {"name": "pool1", "multiply_adds": 100, "parameters": 0}
        results.add("max", cost={"multiply_adds": 200, "parameters": 0}, audit={"sites": [site]})
        results.add("avg", cost={"multiply_adds": 400, "parameters": 0}, audit={"sites": [site]})
        figure = cost.draw(content(results))
        assert figure is not None
        corners = [path.vertices[:, 0] for each in collections(figure, PolyCollection) for path in each.get_paths()]
        ends = sorted((x.min() / cost.BAR_INCH, x.max() / cost.BAR_INCH) for x in corners)
        # The network's other parts first, of one half 1/4 and of the whole 3/4, the site behind them.
        np.testing.assert_allclose(ends, [(0, 1 / 4), (0, 3 / 4), (1 / 4, 1 / 2), (3 / 4, 1)])


class TestCurves:
    def test_histories_of_unequal_length(self) -> None:
        longer = {"history": [{"epoch": 0, "val_accuracy": 0.5}, {"epoch": 1, "val_accuracy": 0.75}]}
        shorter = {"history": [{"epoch": 0, "val_accuracy": None}]}
        found = curves.by_epoch([longer, shorter], "val_accuracy")
        np.testing.assert_array_equal(found, [[0.5, 0.75], [math.nan, math.nan]])

    @pytest.mark.usefixtures("styled")
    def test_mean_and_band_over_the_seeds(self, results: Any) -> None:
        for seed, level in enumerate((0.5, 0.7)):
            record = results.add("max", seed)
            for epoch, point in enumerate(record["history"]):
                point["val_accuracy"] = level + 0.01 * epoch
            results.write(record)
        figure = curves.draw(content(results))
        assert figure is not None
        shown = figure.axes[0]
        assert shown.get_ylabel() == "validation accuracy, %"
        (line,) = shown.lines
        assert line.get_xdata().tolist() == list(range(1, 11))
        assert line.get_ydata() == pytest.approx([60 + epoch for epoch in range(10)])
        ((band,),) = (each.get_paths() for each in shown.collections)
        assert band.vertices[:, 1].min() == pytest.approx(50)
        assert band.vertices[:, 1].max() == pytest.approx(79)
        # An error falls from above, an accuracy rises from below.
        assert "Scores of the first 25 % of the epochs may lie outside the panel." in texts(figure)


@pytest.mark.parametrize("drawn", [accuracy, forest])
def test_rows_stand_best_first_in_the_same_order_in_every_panel(results: Any, words: Any, drawn: Any) -> None:
    # The sums of their ranks over the two blocks, from 0: `avg` 2, `gap` 3, `min` 4; the reference stands first.
    for dataset, means in {"digits": (0.9, 0.85, 0.88, 0.8), "tones": (0.7, 0.95, 0.75, 0.9)}.items():
        for variant, mean in zip(("max", "avg", "gap", "min"), means, strict=True):
            for seed in range(3):
                results.add(variant, seed, mean + seed / 1000, dataset=dataset)
    names = [text for text, _ in words(drawn.draw(content(results))) if text in ("max", "avg", "gap", "min")]
    order = ["max", "avg", "gap", "min"] if drawn is accuracy else ["avg", "gap", "min"]
    assert names == order * (len(names) // len(order))
    assert len(names) >= 2 * len(order)
