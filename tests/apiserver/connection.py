"""HTTP/1.1 on a socket: requests in, responses and endless streams out.

Written by hand because tests need what server libraries hide: to cut a response in the middle of a line, to stop in the
middle of one, and to hand the same bytes to many watchers without a copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, unquote

_REASONS = {s.value: s.phrase for s in HTTPStatus} | {413: "Request Entity Too Large", 422: "Unprocessable Entity"}
_HEAD_LIMIT = 64 * 1024


@dataclass(slots=True)
class Request:
    """``headers`` have lower-case names. Of a query parameter given twice the first counts, as in Go."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """A whole answer. A body of None sends no Content-Length and no body."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class BadHTTP(Exception):
    """What came is not HTTP/1.1: the connection is closed."""


class Connection(asyncio.Protocol):
    """One client connection; one request at a time."""

    def __init__(self, handle: Callable[[Request, Connection], None], live: set[Connection]) -> None:
        self._handle = handle
        self._live = live
        self._buffer = bytearray()
        self._request: Request | None = None
        self._needed = 0
        self._chunks: bytearray | None = None
        self._busy = False
        self._close_after = False
        self._transport: asyncio.Transport | None = None
        self.on_close: Callable[[], None] | None = None
        self.on_drain: Callable[[], None] | None = None
        self.paused = False

    # -- from the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._transport.set_write_buffer_limits(high=1 << 20)
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self)
        self._transport = None
        if self.on_close:
            self.on_close()
            self.on_close = None

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.on_drain:
            self.on_drain()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    # -- requests

    def _advance(self) -> None:
        try:
            while not self._busy and self._transport and self._next():
                request = self._request
                assert request is not None
                self._request, self._busy = None, True
                self._handle(request, self)
        except BadHTTP:
            self.cut()

    def _next(self) -> bool:
        """True when a whole request has come in."""
        if self._request is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    raise BadHTTP("the head is too long")
                return False
            self._request = self._head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        if self._chunks is not None:
            if not self._chunked_body():
                return False
            self._request.body, self._chunks = bytes(self._chunks), None
            return True
        if len(self._buffer) < self._needed:
            return False
        if self._needed:
            self._request.body = bytes(self._buffer[: self._needed])
            del self._buffer[: self._needed]
        return True

    def _head(self, head: bytes) -> Request:
        lines = head.decode("latin-1").split("\r\n")
        try:
            method, target, version = lines[0].split(" ")
            headers: dict[str, str] = {}
            for line in lines[1:]:
                name, colon, value = line.partition(":")
                if not colon:
                    raise BadHTTP(line)
                name, value = name.lower(), value.strip()
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            self._needed = int(headers.get("content-length") or 0)
        except ValueError as e:
            raise BadHTTP(lines[0]) from e
        if not version.startswith("HTTP/1."):
            raise BadHTTP(version)
        self._chunks = bytearray() if headers.get("transfer-encoding", "").lower() == "chunked" else None
        self._close_after = headers.get("connection", "").lower() == "close" or version == "HTTP/1.0"
        if headers.get("expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        path, _, search = target.partition("?")
        query: dict[str, str] = {}
        if search:
            for name, value in parse_qsl(search, keep_blank_values=True):
                query.setdefault(name, value)
        return Request(method, unquote(path) if "%" in path else path, query, headers)

    def _chunked_body(self) -> bool:
        assert self._chunks is not None
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            try:
                size = int(self._buffer[:end].split(b";")[0], 16)
            except ValueError as e:
                raise BadHTTP("chunk size") from e
            if len(self._buffer) < end + 2 + size + 2:
                return False
            self._chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 2 + size + 2]
            if size == 0:
                return True

    # -- responses

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _write(self, data: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def respond(self, response: Response, *, head_only: bool = False) -> None:
        """Answer the request; the next one may follow on the same connection."""
        extra = "".join(f"{k}: {v}\r\n" for k, v in response.headers.items())
        head = (
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}\r\n"
            f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n{extra}"
            f"{'Connection: close' if self._close_after else 'Cache-Control: no-cache, private'}\r\n\r\n"
        )
        self._write(head.encode("latin-1") + (b"" if head_only else response.body))
        self._done()

    def _done(self) -> None:
        self._busy = False
        self.on_drain = self.on_close = None
        if self._close_after and self._transport:
            self._transport.close()
        elif self._buffer:
            asyncio.get_running_loop().call_soon(self._advance)

    def begin(self) -> None:
        """Start a chunked stream of JSON lines: the head goes out at once."""
        self._write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")

    def send(self, data: bytes) -> None:
        """One chunk of the stream."""
        self._write(b"%x\r\n%s\r\n" % (len(data), data))

    def send_part(self, data: bytes, whole: int) -> None:
        """The beginning of a chunk that was announced ``whole`` bytes long and never ends."""
        self._write(b"%x\r\n%s" % (whole, data))

    def end(self) -> None:
        """The stream is over: a clean end of the chunked body."""
        self._write(b"0\r\n\r\n")
        self._done()

    def cut(self) -> None:
        """Close the socket as it stands, once what was written is out."""
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Reset the connection: what was not sent yet is gone."""
        if self._transport:
            self._transport.abort()
