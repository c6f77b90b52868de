"""The page's script: kept in the user's cache folder, and put together anew where there is none."""

from pathlib import Path

import pytest

from poolbench.report.page import library


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Put a short script together, and count how often."""
    made: list[int] = []

    def javascript_bundle() -> str:
        made.append(1)
        return "let vega;"

    monkeypatch.setattr(library.vl_convert, "javascript_bundle", javascript_bundle)
    return made


def test_it_is_put_together_once(tmp_path: Path, bundle: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert library.vega() == library.vega() == "let vega;"
    assert len(bundle) == 1
    (path,) = (tmp_path / "poolbench" / "vega").iterdir()
    path.write_text("let other;")  # not what its name says
    assert library.vega() == "let vega;"
    assert len(bundle) == 2


def test_without_a_folder_it_is_put_together_each_time(
    tmp_path: Path, bundle: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert library.vega() == "let vega;"
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda user: {}[user])  # a KeyError, as of a user without an account
    assert library.vega() == "let vega;"
    assert len(bundle) == 2
