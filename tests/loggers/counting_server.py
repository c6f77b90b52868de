"""A small server that stands in for W&B's: it counts what it is asked, and answers rightly, wrongly or late."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VIEWER: dict[str, Any] = {
    **{"id": "1", "name": "me", "username": "me", "email": "me@example.org", "admin": False, "flags": "{}"},
    **{"entity": "me", "deletedAt": None, "apiKeys": None, "teams": {"edges": [{"node": {"name": "team"}}]}},
}


class Server:
    """Where it is, and what it was asked."""

    def __init__(self, answer: str) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode(errors="replace")
                asked.append(f"{self.path} {body}")
                if answer == "slow":
                    time.sleep(30)
                status, content = 200, b"<html>not W&B</html>"
                if answer in ("500", "401"):
                    status, content = int(answer), b'{"errors": [{"message": "no"}]}'
                elif answer == "viewer alone":
                    right = "mutation" not in body and "viewer" in body.lower()
                    status, content = (
                        (200, json.dumps({"data": {"viewer": VIEWER}}).encode()) if right else (400, b"{}")
                    )
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815
            do_CONNECT = do_POST  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def serving(answer: str) -> Iterator[Server]:
    """A server with this answer; `dead`: nobody listens."""
    server = Server(answer)
    if answer == "dead":
        server.server.server_close()
        yield server
        return
    threading.Thread(target=server.server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
