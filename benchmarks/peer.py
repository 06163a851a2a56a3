"""An HTTP peer that answers every request after so many milliseconds, cheaply: ``python -m benchmarks.peer``."""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(self._buffer, 0, head)
            end = head + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < end:
                return
            del self._buffer[:end]
            self._loop.call_later(self._seconds, self._transport.write, ANSWER)


async def serve(port_file: Path, seconds: float) -> None:
    """Forever."""
    server = await asyncio.get_running_loop().create_server(lambda: Peer(seconds), "127.0.0.1", 0, backlog=1024)
    write_port(port_file, server.sockets[0].getsockname()[1])
    await server.serve_forever()


def write_port(port_file: Path, port: int) -> None:
    """Tell the process that started this one where it listens."""
    new = port_file.with_suffix(".new")
    new.write_text(str(port))
    new.rename(port_file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=50.0, help="milliseconds")
    args = parser.parse_args()
    uvloop.run(serve(args.port_file, args.delay / 1000))


if __name__ == "__main__":
    main()
