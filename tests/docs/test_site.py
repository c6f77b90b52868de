"""The documentation as a site: builds with every link right, needs no network; the README keeps its length."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Strict: a link to a page or a section that is not there ends the build (with --quiet no warning would count).
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    for page in set(site.rglob("*.html")) - {site / "404.html"}:  # whose links begin at a server's root
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"<a\b[^>]*?href=\"([^\"#?]+)", text):
            if "://" not in target and not target.startswith("mailto:"):
                found = (page.parent / unquote(target)).resolve()
                assert found.exists(), f"{page.relative_to(site)}: {target}"


def test_every_page_of_the_documentation_is_there(site: Path) -> None:
    pages = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    written = {path.relative_to(TOP / "docs").as_posix() for path in (TOP / "docs").rglob("*.md")}
    assert {page.replace("README", "index") for page in written} <= pages
    assert "Which pooling should this network use" in (site / "index.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=[\"']?(https?:)?//", re.IGNORECASE)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        found = [m.group() for m in fetched.finditer(text) if "canonical" not in m.group()]
        assert not found, f"{page.name}: {found[:3]}"


def test_every_decision_is_listed() -> None:
    folder = TOP / "docs" / "decisions"
    listed = re.findall(r"\((\d[^)]*\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(path.name for path in folder.glob("[0-9]*.md"))


def test_the_readme_is_short() -> None:
    assert 700 <= len((TOP / "README.md").read_text(encoding="utf-8").split()) <= 900
