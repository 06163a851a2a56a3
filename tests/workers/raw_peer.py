"""A peer that says bytes, whatever they mean, and notes the bytes that it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Talk = Callable[["Asked"], Awaitable[None]]


@dataclass
class RawPeer:
    """``heads``: the request line and headers of each request. ``connections``: how many there were."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def targets(self) -> list[str]:
        """The target of each request line."""
        return [head.split(b" ")[1].decode() for head in self.heads]

    def header(self, name: str) -> bytes | None:
        """The value of a header of the last request."""
        lines = [line.partition(b":") for line in self.heads[-1].split(b"\r\n")[1:]]
        return next((value.strip() for key, _, value in lines if key.decode().lower() == name), None)


@dataclass
class Asked:
    """A request that has been read. ``number`` counts those of its connection, from 0."""

    number: int
    writer: asyncio.StreamWriter

    async def say(self, *pieces: bytes) -> None:
        """Send each piece on its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()


def says(*answers: bytes) -> Talk:
    """The answer of each request of a connection."""

    async def talk(asked: Asked) -> None:
        await asked.say(answers[asked.number])

    return talk


@asynccontextmanager
async def raw_peer(talk: Talk) -> AsyncIterator[RawPeer]:
    peer, writers = RawPeer(), set[asyncio.StreamWriter]()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        writers.add(writer)
        if task := asyncio.current_task():
            tasks.add(task)
        number = 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                peer.heads.append(head)
                lengths = [
                    line.partition(b":")[2]
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                await talk(Asked(number, writer))
                number += 1
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, IndexError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
    host, port = server.sockets[0].getsockname()[:2]
    peer.url = f"http://{host}:{port}"
    try:
        yield peer
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*tasks)
        await server.wait_closed()
