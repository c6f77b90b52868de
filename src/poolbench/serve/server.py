"""The server: this machine alone can reach it, and all it can do is read."""

import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from poolbench.errors import ConfigurationError
from poolbench.folders import check_exists
from poolbench.serve.site import Answer, Site

HERE = "127.0.0.1"
# By other names a page from elsewhere could reach it, through a name that leads to this machine.
NAMES = frozenset({HERE, "localhost"})


class PageServer(ThreadingHTTPServer):
    """Serves the pages of all experiments in a folder on 127.0.0.1.

    Args:
        folder: the results folder, or one experiment's.
        port: 0 for a free one.

    Raises:
        ConfigurationError: there is no such folder, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        check_exists(folder)
        if not 0 <= port < 65536:
            raise ConfigurationError(f"--port must be in 0..65535, got {port}")
        self.site = Site(folder)
        try:
            super().__init__((HERE, port), _Handler)
        except OSError as error:
            raise ConfigurationError(
                f"--port {port} cannot be served: {error.strerror or error}; give another one, or 0 for a free one"
            ) from error

    @property
    def address(self) -> str:
        """Where the pages are."""
        return f"http://{HERE}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version = "poolbench"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Answer without content."""
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        if _hostname(self.headers.get("Host", "")) not in NAMES:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, f"this is {self.server.address}")
            return
        try:
            answer = self.server.site.answer(urlsplit(self.path).path)
        except Exception as error:  # whoever asked gets the reason as an answer
            traceback.print_exc()
            reason = f"this page cannot be made: {type(error).__name__}: {error}\n"
            answer = Answer(500, "text/plain; charset=utf-8", reason.encode())
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            if answer.policy:
                self.send_header("Content-Security-Policy", answer.policy)
            self.end_headers()
            if with_content:
                self.wfile.write(answer.content)
        except (BrokenPipeError, ConnectionResetError):  # the reader has left
            pass

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: pages ask again and again."""


def _hostname(host: str) -> str | None:
    """Return the name in a Host header, None where there is none.

    >>> _hostname("localhost:8000"), _hostname("["), _hostname("")
    ('localhost', None, None)
    """
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
