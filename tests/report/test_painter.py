"""Large reports: a second process draws some figures."""

import sys
from typing import Any

import pytest

from poolbench.report import painter
from poolbench.report.make import gather
from poolbench.report.reading.loading import load


def files(results: Any) -> dict[str, bytes]:
    from poolbench.report import figures

    with painter.Painter(records=3) as second:
        content = gather(load(results.folder))
        second.begin(content)
        own = figures.files(content, [name for name in figures.DRAWINGS if name not in second.share])
        given = second.files(content)
        assert not own.keys() & given.keys()
        return own | given


class TestPainter:
    @pytest.mark.slow
    def test_who_draws_makes_no_difference(self, results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        results.grid(blocks=[("slides", "digits")], variants=["max", "avg"], seeds=3)
        alone = files(results)
        monkeypatch.setattr(painter, "LEAST_RECORDS", 1)
        monkeypatch.setattr(painter, "allowed_processors", lambda: 2)
        assert files(results) == alone

    def test_few_records_or_one_core_start_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(painter, "allowed_processors", lambda: 2)
        assert painter.Painter(painter.LEAST_RECORDS - 1).process is None
        monkeypatch.setattr(painter, "allowed_processors", lambda: 1)
        assert painter.Painter(10**6).process is None

    @pytest.mark.slow
    def test_where_it_fails_that_is_told_and_the_figures_are_drawn_all_the_same(
        self, results: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from poolbench.report import figures

        results.grid(blocks=[("slides", "digits")], variants=["max", "avg"], seeds=2)
        monkeypatch.setattr(painter, "LEAST_RECORDS", 1)
        monkeypatch.setattr(painter, "allowed_processors", lambda: 2)
        content = gather(load(results.folder))
        with painter.Painter(3) as second:
            second.begin("not what a report says")
            assert second.files(content) == figures.files(content, painter.SHARE)
        assert "AttributeError" in caplog.text

    def test_it_ends_with_the_report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(painter, "allowed_processors", lambda: 2)
        second = painter.Painter(10**6)
        assert second.process is not None
        with pytest.raises(ZeroDivisionError), second:
            raise ZeroDivisionError
        assert second.process.returncode is not None

    def test_without_an_interpreter_nothing_is_given_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "")
        monkeypatch.setattr(painter, "allowed_processors", lambda: 2)
        assert painter.Painter(10**6).share == ()
