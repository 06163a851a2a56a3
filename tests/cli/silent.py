"""Servers that take connections and say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Silent:
    """``heard`` is what came, of all connections; ``connected`` is set by the first of them."""

    port: int = 0
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    heard: bytearray = field(default_factory=bytearray)

    async def reached(self) -> None:
        """Wait until somebody has connected."""
        async with asyncio.timeout(60):
            await self.connected.wait()


@asynccontextmanager
async def silent_server(greeting: bytes = b"") -> AsyncIterator[Silent]:
    """A server that says ``greeting`` at most."""
    found = Silent()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connected.set()
        writer.write(greeting)
        try:
            while heard := await reader.read(65536):
                found.heard += heard
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
