"""A TCP proxy that makes a network misbehave: replies late or cut off, connections cut, or nothing passing at all.

It lives in the event loop of the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType

CHUNK = 65536


class Proxy:
    """Between clients and a server on 127.0.0.1. Its own ``port`` is free to choose for the machine, and then stays.
    It listens at ``host``.

    ``delay``: seconds by which each reply is late. ``dropped``: replies that were cut off.
    """

    def __init__(self, server_port: int, host: str = "127.0.0.1") -> None:
        self.port = 0
        self.host = host
        self.delay = 0.0
        self.dropped = 0
        self.server_port = server_port
        self._dropping = False
        self._marked: bytes | None = None
        self._hangs = False
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> int:
        """Break every connection, on both sides; returns how many."""
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    def drop_reply(self, marker: bytes) -> None:
        """Let the next request that holds the marker reach the server, and cut its connection before the reply."""
        self._marked = marker

    def holds(self, marker: bytes) -> bool:
        """Whether a request with the marker hangs in here."""
        return any(marker in link.held for link in self._links)

    @asynccontextmanager
    async def dropping(self) -> AsyncIterator[None]:
        """Requests reach the server, and each reply is cut off with its connection."""
        self._dropping = True
        try:
            yield
        finally:
            self._dropping = False

    @asynccontextmanager
    async def delaying(self, seconds: float) -> AsyncIterator[None]:
        """Each reply is late."""
        self.delay = seconds
        try:
            yield
        finally:
            self.delay = 0.0

    @asynccontextmanager
    async def hanging(self, *, new: bool = True) -> AsyncIterator[None]:
        """Nothing passes in either direction; connections stay, and what was held back passes at the end. Without
        `new`, only those that are open now hang."""
        self._hangs = new
        held = list(self._links)
        for link in held:
            link.flows.clear()
        try:
            yield
        finally:
            self._hangs = False
            for link in [*held, *self._links]:
                link.flows.set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():  # it came while the proxy was closed
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # also if it was cancelled before it began

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            return
        link = _Link(writer, inner_writer)
        if not self._hangs:
            link.flows.set()
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, link))
                group.create_task(self._replies(inner_reader, link))
        finally:
            self._links.discard(link)
            link.abort()

    async def _requests(self, reader: asyncio.StreamReader, link: _Link) -> None:
        tail = b""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                link.held = chunk
                await link.flows.wait()
                link.held = b""
                if self._marked is not None:
                    if self._marked in tail + chunk:
                        self._marked, link.doomed = None, True
                    tail = (tail + chunk)[-CHUNK:]
                link.server.write(chunk)
                await link.server.drain()
        link.abort()

    async def _replies(self, reader: asyncio.StreamReader, link: _Link) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await link.flows.wait()
                if self._dropping or link.doomed:
                    self.dropped += 1
                    break
                link.client.write(chunk)
                await link.client.drain()
        link.abort()


class _Link:
    """One connection: its two ends."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.flows = asyncio.Event()
        self.held = b""  # of a request, while it hangs
        self.doomed = False  # its next reply is cut off

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()
