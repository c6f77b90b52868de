"""What is served: an index of experiments, a frame around each one's page, and what these ask again and again."""

import json
import os
import queue
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import jinja2

from poolbench.folders import experiments_in
from poolbench.record import RECORD_FILE
from poolbench.serve.watched import PAGE, Watched, as_json

UNDER = "/e/"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
# Of the pages made here; a report brings a policy of its own, which lets it fetch nothing at all.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
OWN = ("serve.css", "serve.js")


@dataclass(frozen=True)
class Answer:
    """What is sent."""

    status: int
    kind: str
    content: bytes
    policy: str = ""


class Site:
    """The pages of all experiments in a folder.

    Args:
        folder: the folder; nothing is written to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._watched: dict[str, Watched] = {}
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[Watched] = queue.SimpleQueue()
        self._waiting: set[str] = set()
        self._templates = jinja2.Environment(
            loader=jinja2.FunctionLoader(_part),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        threading.Thread(target=self._make, name="poolbench-pages", daemon=True).start()

    def answer(self, path: str) -> Answer:
        """Return what stands at a path."""
        if path == "/":
            return self._page(
                "index.html.j2", rows=self._rows(), folder=shown(str(self.folder)), version=self._index()["version"]
            )
        if path == "/state.json":
            return _json(self._index())
        if path.startswith("/own/") and path[5:] in OWN:
            return Answer(200, TYPES[Path(path).suffix], _part(path[5:]).encode(), POLICY)
        if path.startswith(UNDER):
            return self._of_experiment(os.fsdecode(unquote_to_bytes(path.removeprefix(UNDER))))
        return _absent(path)

    def _of_experiment(self, rest: str) -> Answer:
        name, _, file = rest.rpartition("/")
        if file == RECORD_FILE:
            return self._record(rest)
        watched = self._all().get(name)
        if watched is None:
            return _absent(rest)
        if not file:
            progress = watched.progress()
            return self._page(
                "experiment.html.j2",
                name=shown(name),
                page=PAGE,
                question=watched.question,
                progress=progress,
                said=_said(progress.cells),
            )
        if file == "state.json":
            return _json(as_json(watched.progress(), watched.known))
        made = watched.made()
        if made.without and file == PAGE:
            return self._page("without.html.j2", name=shown(name), reason=made.without)
        if file not in made.files:
            return _absent(rest)
        return Answer(200, TYPES.get(Path(file).suffix, "application/octet-stream"), made.files[file])

    def _record(self, rest: str) -> Answer:
        """Return one cell's record: a page links to it as NAME/records/RUN/record.json."""
        found = re.fullmatch(rf"(.+)/records/([^/]+)/{re.escape(RECORD_FILE)}", rest, re.DOTALL)
        watched = self._all().get(found[1]) if found else None
        content = watched.record(found[2]) if found and watched else None
        return _absent(rest) if content is None else Answer(200, TYPES[".json"], content, POLICY)

    def _all(self) -> Mapping[str, Watched]:
        """Return the experiments that there are now."""
        found = experiments_in(self.folder)
        with self._lock:
            self._watched = {name: self._watched.get(name) or Watched(name, path) for name, path in found.items()}
            return self._watched

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for name, watched in self._all().items():
            progress, made = watched.progress(), watched.known
            if made.version != progress.version:
                self._ask(watched)
            rows.append(
                {
                    "name": shown(name),
                    "link": f"{UNDER}{quote(os.fsencode(name))}/",
                    "question": watched.question,
                    "verdict": made.verdict or made.without or ("" if made.version else "being read …"),
                    "date": progress.newest[:16].replace("T", " "),
                    "total": progress.total,
                    "said": _said(progress.cells),
                    "failed": progress.failed,
                    "live": progress.is_live,
                }
            )
        return sorted(rows, key=lambda row: (not row["live"], _backwards(row["date"]), row["name"]))

    def _index(self) -> dict[str, Any]:
        found = {}
        for name, watched in self._all().items():
            progress = watched.progress()
            if watched.known.version != progress.version:
                self._ask(watched)
            found[shown(name)] = as_json(progress, watched.known)
        versions = sorted((name, one["version"], one["made"]) for name, one in found.items())
        return {"version": json.dumps(versions), "experiments": found}

    def _ask(self, watched: Watched) -> None:
        with self._lock:
            if watched.name not in self._waiting:
                self._waiting.add(watched.name)
                self._asked.put(watched)

    def _make(self) -> None:
        while True:
            watched = self._asked.get()
            try:
                watched.made()
            except Exception as error:  # one experiment's fault is no reason to make no page any more
                watched.not_made(error)
            finally:
                with self._lock:
                    self._waiting.discard(watched.name)

    def _page(self, template: str, **values: Any) -> Answer:
        text = self._templates.get_template(template).render(**values)
        return Answer(200, TYPES[".html"], text.encode(errors="replace"), POLICY)  # paths need not be UTF-8


def shown(name: str) -> str:
    """Return a file's name as a page can have it: what is not UTF-8 in it is replaced."""
    return os.fsencode(name).decode(errors="replace")


def _backwards(text: str) -> tuple[int, ...]:
    """Return what sorts texts from the last to the first."""
    return tuple(-ord(letter) for letter in text) or (0,)


def _said(cells: Mapping[str, int]) -> str:
    """Return how many cells are in which state.

    >>> _said({"ok": 3, "failed": 1})
    '3 ok, 1 failed'
    """
    return ", ".join(f"{count} {state}" for state, count in cells.items()) or "no cell yet"


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _json(content: Any) -> Answer:
    return Answer(200, TYPES[".json"], json.dumps(content).encode(), POLICY)


def _absent(path: str) -> Answer:
    return Answer(404, "text/plain; charset=utf-8", f"nothing at {path}\n".encode(), POLICY)
