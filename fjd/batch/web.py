"""A run in a browser (``-w``): read only, on this machine, under an address that cannot be guessed.

Everybody on this machine can reach the port, so the address holds a secret; whoever does not know
it learns nothing. The page has no script, takes nothing from anywhere and has no button.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

from fjd.batch import webpage
from fjd.talk import one_line

VISITORS = 16  # at the same time; who comes then is turned away
_PATIENCE = 10.0  # s for a browser to say what it wants
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Status = Callable[[], Mapping[str, Any]]


class Web:
    """The web server of a run: ``url`` is where; ``close`` ends it.

    Args:
        status: returns what the board says, with ``run`` (a name) and ``failures`` (the last rows
            of the status file with a failure); called in other threads, at each look.
    """

    def __init__(self, status: Status, host: str = "127.0.0.1", port: int = 0) -> None:
        secret = secrets.token_urlsafe(24)
        self._server = _Server((host, port), _Visit)
        self._server.status, self._server.secret = status, secret
        name, number = self._server.server_address[:2]
        self.url = f"http://{name!s}:{number}/{secret}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="web", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End; a look that has begun is not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser that keeps its connection open delays no end
    status: Status
    secret: str

    def __init__(self, *args: Any) -> None:  # noqa: ANN401  the base class's
        super().__init__(*args)
        self._places = threading.BoundedSemaphore(VISITORS)

    def server_bind(self) -> None:
        """Bind, without asking the name server who we are, as the base class does."""
        self.socket.bind(self.server_address)
        self.server_address = host, port = self.socket.getsockname()
        self.server_name, self.server_port = str(host), int(port)

    def process_request(self, request: Any, client: Any) -> None:  # noqa: ANN401
        """Let a visitor in if there is a place."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client)

    def process_request_thread(self, request: Any, client: Any) -> None:  # noqa: ANN401
        """Serve a visitor, and free the place."""
        try:
            super().process_request_thread(request, client)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client: Any) -> None:  # noqa: ANN401
        """A visitor who leaves in the middle is no news; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client)


class _Visit(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE
    server_version, sys_version = "fjd", ""

    def do_GET(self) -> None:
        """Show the page or its data."""
        path = self.path.partition("?")[0]
        secret, slash, place = path.partition("/")[2].partition("/")
        known = hmac.compare_digest(secret.encode(), self.server.secret.encode())
        if not (known and slash and place in ("", "status.json")):
            return self._answer(404, "text/plain", "There is nothing here.\n")
        try:
            status = dict(self.server.status())
        except OSError as error:
            return self._answer(503, "text/plain", f"Cannot look: {one_line(str(error))}\n")
        if place:
            return self._answer(200, "application/json", json.dumps({"schema": 1, **status}) + "\n")
        return self._answer(200, "text/html", webpage.render(status, time.time()))

    do_HEAD = do_GET

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode("utf-8", "backslashreplace")
        self.send_response(code)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401
        """Say nothing: stderr belongs to the run."""
