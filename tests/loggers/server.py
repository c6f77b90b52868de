"""A small server that stands in for W&B's: it keeps what it is sent, and answers rightly, wrongly or late."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VIEWER: dict[str, Any] = {
    **{"id": "1", "name": "me", "username": "me", "email": "me@example.org", "admin": False, "flags": "{}"},
    **{
        "entity": "me",
        "defaultEntity": {"name": "me"},
        "deletedAt": None,
        "apiKeys": None,
        "teams": {"edges": [{"node": {"name": "team"}}]},
    },
}
WRONG = {"500": (500, b"{}"), "401": (401, b'{"errors": [{"message": "no"}]}'), "html": (200, b"<html>not W&B</html>")}


class Server:
    """Where it is, and what it was sent.

    Args:
        answer: `right`; `viewer alone`: it knows the key and takes no run; `slow`; or one of `WRONG`.
    """

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []
        # By run: what was upserted, the rows of its history, its files.
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, dict[int, dict[str, Any]]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        # Workspaces and reports, in their order.
        self.views: list[dict[str, Any]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self, *, runs: bool = True) -> None:
        if runs:
            self._http.shutdown()
        self._http.server_close()

    def reply(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self.answer == "slow":
            time.sleep(30)
        if self.answer in WRONG:
            return WRONG[self.answer]
        if path.endswith("/file_stream"):
            self._stream(path.split("/")[-2], json.loads(body))
            return 200, b"{}"
        try:
            asked = json.loads(body)
        except ValueError:  # what its client measures of itself
            return 200, b"{}"
        name = re.search(r"(?:query|mutation)\s+(\w+)", asked.get("query", ""))
        found = self._graphql(name[1] if name else "", asked.get("variables") or {})
        return (400, b"{}") if found is None else (200, json.dumps({"data": found}).encode())

    def _graphql(self, name: str, given: dict[str, Any]) -> dict[str, Any] | None:
        if "Viewer" in name or name == "GetDefaultEntity":
            return {"viewer": VIEWER, "serverInfo": None}
        if self.answer == "viewer alone":
            return None
        if name == "UpsertBucket":
            run = given["name"]
            self.runs.setdefault(run, {}).update({key: value for key, value in given.items() if value is not None})
            project = {"id": "p", "name": given.get("project") or "p", "entity": {"id": "e", "name": "me"}}
            bucket = {
                **{"id": f"id-{run}", "name": run, "displayName": run, "description": None, "config": "{}"},
                **{"sweepName": None, "project": project, "historyLineCount": 0},
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/up/{given['run']}/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
        if name in ("UpsertView2", "upsertView"):
            self.views.append(given)
            view = {
                **{"id": f"Vmlldzo{len(self.views)}", "name": given["name"], "displayName": given["displayName"]},
                **{"type": given["type"], "description": given["description"], "spec": given["spec"]},
                "project": {"id": "p", "name": given["projectName"], "entityName": given["entityName"]},
            }
            return {"upsertView": {"view": view, "inserted": True}}
        if name == "ProjectInternalId":
            return {"project": {"id": "p", "internalId": "UHJvamVjdDox"}}
        if name == "GetProjects":
            project = {"__typename": "Project", "id": "p", "name": "pools", "entityName": "me", "user": None}
            node = {"cursor": "c", "node": project | {"isBenchmark": False, "createdAt": "2026-01-01T00:00:00Z"}}
            page = {"__typename": "PageInfo", "hasNextPage": False, "endCursor": None}
            return {"models": {"edges": [node], "pageInfo": page}}
        return {}

    def _stream(self, run: str, sent: dict[str, Any]) -> None:
        lines = (sent.get("files") or {}).get("wandb-history.jsonl")
        if lines:
            rows = self.history.setdefault(run, {})
            for number, line in enumerate(lines["content"], lines["offset"]):
                rows[number] = json.loads(line)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self._body()
            server.asked.append(f"{self.path} {body.decode(errors='replace')}")
            self._send(*server.reply(self.path, body))

        do_GET = do_POST  # noqa: N815
        do_CONNECT = do_POST  # noqa: N815

        def do_PUT(self) -> None:
            _, _, run, file = self.path.split("/", 3)
            server.files.setdefault(run, {})[file] = self._body()
            self._send(200, b"{}")

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def _send(self, status: int, content: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # who asked has left
                pass

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

    return Handler


@contextmanager
def serving(answer: str) -> Iterator[Server]:
    """A server with this answer; `dead`: nobody listens."""
    server = Server(answer)
    if answer == "dead":
        server.stop(runs=False)
        yield server
        return
    server.start()
    try:
        yield server
    finally:
        server.stop()
