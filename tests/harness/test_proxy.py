"""The proxy passes what it gets, until it is told to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.harness.processes import until
from tests.harness.proxy import Proxy

SOON, NOT_YET = 5.0, 0.2


@dataclass
class Echo:
    """A server that answers each line with itself, and remembers it."""

    heard: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(line)
            writer.write(line)
        writer.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, line: bytes) -> None:
        self._writer.write(line)

    async def answer(self, timeout: float = SOON) -> bytes:
        """The next line; b"" for a connection that was cut."""
        async with asyncio.timeout(timeout):
            try:
                return await self._reader.readline()
            except ConnectionResetError:
                return b""

    async def ask(self, line: bytes) -> bytes:
        self.send(line)
        return await self.answer()

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Echo, Proxy, Callable[[], Awaitable[Client]]]]:
    """A server, the proxy before it, and clients of the proxy."""
    echo, clients = Echo(), []
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return clients[-1]

    try:
        async with Proxy(server.sockets[0].getsockname()[1]) as proxy:
            yield echo, proxy, connect
    finally:
        server.close()
        for client in clients:
            client.close()


async def test_what_is_sent_arrives_and_the_answer_comes_back() -> None:
    async with proxied() as (echo, _, connect):
        client = await connect()
        assert await client.ask(b"one\n") == b"one\n"
        assert echo.heard == [b"one\n"]


async def test_a_dropped_reply_is_of_a_request_that_arrived() -> None:
    async with proxied() as (echo, proxy, connect):
        client, other = await connect(), await connect()
        proxy.drop_reply(b"two")
        assert await client.ask(b"one\n") == b"one\n"
        assert await client.ask(b"two\n") == b""
        assert await other.ask(b"two\n") == b"two\n"
        async with proxy.dropping():
            assert await other.ask(b"three\n") == b""
        assert (echo.heard, proxy.dropped) == ([b"one\n", b"two\n", b"two\n", b"three\n"], 2)
        assert await (await connect()).ask(b"four\n") == b"four\n"


async def test_what_hangs_passes_at_the_end() -> None:
    async with proxied() as (echo, proxy, connect):
        client = await connect()
        assert await client.ask(b"one\n") == b"one\n"
        async with proxy.hanging(new=False):
            client.send(b"two\n")
            with pytest.raises(TimeoutError):
                await client.answer(NOT_YET)
            assert await (await connect()).ask(b"three\n") == b"three\n"
        assert await client.answer() == b"two\n"
        async with proxy.hanging():
            late = await connect()
            late.send(b"four\n")
            with pytest.raises(TimeoutError):
                await late.answer(NOT_YET)
        assert await late.answer() == b"four\n"
        assert len(echo.heard) == 4


async def test_connections_are_cut_and_replies_are_late() -> None:
    async with proxied() as (echo, proxy, connect):
        client = await connect()
        assert await client.ask(b"one\n") == b"one\n"
        assert proxy.cut() == 1
        assert await client.answer() == b""
        client = await connect()
        async with proxy.delaying(2 * NOT_YET):
            client.send(b"two\n")
            await until(lambda: len(echo.heard) == 2, SOON, "the request")
            with pytest.raises(TimeoutError):
                await client.answer(NOT_YET)
        assert await client.answer() == b"two\n"


async def test_a_server_that_is_gone_ends_the_connection() -> None:
    async with proxied() as (_, proxy, connect):
        proxy.server_port = 1
        assert await (await connect()).answer() == b""
