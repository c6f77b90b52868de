"""What the documentation site shows from outside docs/: the README as its first page, and what pages link to there."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TOP = Path(__file__).resolve().parent.parent
# Files outside docs/ that are pages of the site, by their address in it.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "log.md": "experiments/LOG.md",
    "changelog.md": "CHANGELOG.md",
    "kernels.md": "src/poolbench/kernels/README.md",
}
ADDRESSES = {source: address for address, source in PAGES.items()}
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and the pictures that lie outside docs/."""
    for address, source in PAGES.items():
        text, pictures = moved((TOP / source).read_text(encoding="utf-8"), posixpath.dirname(source))
        files.append(File.generated(config, address, content=text))
        for picture in pictures:
            if files.get_file_from_path(picture) is None:
                files.append(File.generated(config, picture, abs_src_path=str(TOP / picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Let links that lead out of docs/ lead to the site's page of the file; where it has none, leave the name."""
    here = posixpath.dirname(page.file.src_uri)

    def new(link: re.Match[str]) -> str:
        before, target, end = link.groups()
        path = posixpath.normpath(posixpath.join("docs", here, target))
        if "://" in target or target.startswith("mailto:") or path.startswith("docs/"):
            return link.group()
        return f"{before}{posixpath.relpath(ADDRESSES[path], here or '.')}{end}" if path in ADDRESSES else "](!)"

    return _named(LINK.sub(new, markdown))


def moved(text: str, folder: str) -> tuple[str, list[str]]:
    """Return a text of a file in `folder` with links as the site has them, and the pictures it needs from elsewhere.

    A link to a file that the site does not have becomes its name.

    >>> moved("see [tables](docs/tables.md#words), [code](src/poolbench) and [home](../README.md)", "")
    ('see [tables](tables.md#words), code and [home](../README.md)', [])
    """
    pictures: list[str] = []

    def new(link: re.Match[str]) -> str:
        before, target, end = link.groups()
        if "://" in target or target.startswith("mailto:"):
            return link.group()
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith(".."):
            return link.group()
        if path in ADDRESSES:
            return f"{before}{ADDRESSES[path]}{end}"
        if path.startswith("docs/") and (TOP / path).is_file():
            return f"{before}{path.removeprefix('docs/')}{end}"
        if path.endswith((".png", ".svg")):
            pictures.append(path)
            return f"{before}{path}{end}"
        return "](!)"

    return _named(LINK.sub(new, text)), pictures


def _named(text: str) -> str:
    """Return a text with the names of links that lead nowhere in their place."""
    return re.sub(r"\[([^\]]*)\]\(!\)", r"\1", text)
