"""An HTTP server in threads of its own, for a few fixed paths."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple, Protocol

import structlog

from kubecdc.cli.serving.address import Address
from kubecdc.errors import UsageError

log = structlog.get_logger()
PAUSE = 0.2  # seconds, when no descriptor is left for a connection
POLL_SECONDS = 60.0  # until a server that nobody asks notices that it is to stop; each time, it wakes the process
PATIENCE = 10.0  # seconds for a client to ask, and to take the answer
MOST = 32  # connections at a time


class Answer(NamedTuple):
    """What a path answers."""

    status: int
    content_type: str
    body: bytes

    @staticmethod
    def text(status: int, text: str) -> Answer:
        """Plain text."""
        return Answer(status, "text/plain; charset=utf-8", text.encode())


Page = Callable[[Message], Answer]  # from the headers of the request


class Tls(Protocol):
    """Makes a connection a secure one."""

    def wrap(self, connection: socket.socket) -> socket.socket:
        """The same connection, encrypted. Raises OSError."""
        ...


class Server(ThreadingMixIn, HTTPServer):
    """Answers GET for the ``pages``, by path; every other path is 404. A client that is slow delays no other."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: Address, pages: Mapping[str, Page], tls: Tls | None = None) -> None:
        """Raises OSError if it cannot listen there."""
        listener = address.listener()
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.pages = pages
        self.port: int = listener.getsockname()[1]
        self._tls = tls
        self._free = threading.BoundedSemaphore(MOST)

    def start(self, *, poll: float = POLL_SECONDS) -> None:
        """Serve from now on, until the process ends or `stop`, which is noticed after ``poll`` seconds."""
        threading.Thread(target=self.serve_forever, args=(poll,), name=f"http-{self.port}", daemon=True).start()

    def stop(self) -> None:
        """Listen no more. Waits until that is noticed."""
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:  # it would be tried again at once, and take a whole core for that
            time.sleep(PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(PATIENCE)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.wrap(request) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request was not answered", code="request-unanswered", client=str(client_address), exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "kubecdc", ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path)
        answer = page(self.headers) if page else Answer.text(404, f"there is {' and '.join(self.server.pages)} here\n")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads a line for each request."""


def serve(what: str, option: str, address: Address | None, pages: Mapping[str, Page], tls: Tls | None = None) -> None:
    """Serve from now on, if there is an address. Raises UsageError if it cannot be used, unless it is optional."""
    if address is None:
        return
    try:
        server = Server(address, pages, tls)
    except OSError as e:
        text = f"{what} cannot be served on {address}: {e.strerror or e}"
        if not address.optional:
            raise UsageError(text, hint=f"give another --{option}, or 0 for none") from e
        hint = f"another process uses the port: give another --{option}, or 0 for none"
        log.info(text, code="not-serving", hint=hint)
        return
    server.start()
    log.info(
        f"serving {what}", code="serving", at=f"{'https' if tls else 'http'}://{Address(address.host, server.port)}"
    )
