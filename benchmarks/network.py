"""A network with delay, in front of a server on this machine: ``python -m benchmarks.network``.

What is sent, in either direction, arrives so many milliseconds later. Nothing else is limited.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.peer import write_port


class End(asyncio.Protocol):
    """One end of a connection. What it reads is written to the other end later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way: deque[bytes] = deque()
        self._arrived = 0  # of those, oldest first; the other end may not be connected yet
        self._loop = asyncio.get_running_loop()
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._under_way.append(data)
        self._loop.call_later(self._seconds, self._arrive)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.abort()

    def pass_on(self) -> None:
        """Write what has arrived."""
        while self._arrived and self.other and self.other.transport:
            self.other.transport.write(self._under_way.popleft())
            self._arrived -= 1

    def _arrive(self) -> None:
        self._arrived += 1
        self.pass_on()


class Entry(End):
    """The end of a client, for which the server is connected to."""

    def __init__(self, seconds: float, port: int) -> None:
        super().__init__(seconds)
        self._port = port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        assert self.transport
        try:
            _, other = await self._loop.create_connection(lambda: End(self._seconds), "127.0.0.1", self._port)
        except OSError:
            self.transport.abort()
            return
        self.other, other.other = other, self
        self.pass_on()
        other.pass_on()


async def serve(port_file: Path, server: int, seconds: float) -> None:
    """Forever."""
    listening = await asyncio.get_running_loop().create_server(lambda: Entry(seconds, server), "127.0.0.1", 0)
    write_port(port_file, listening.sockets[0].getsockname()[1])
    await listening.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--server", type=int, required=True, help="port")
    parser.add_argument("--delay", type=float, required=True, help="milliseconds, each way")
    args = parser.parse_args()
    uvloop.run(serve(args.port_file, args.server, args.delay / 1000))


if __name__ == "__main__":
    main()
