"""Connections to one server: many commands share one, and each gets its own answer, whatever fails."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions
from redis.asyncio.connection import Connection

from kubecdc.storage.redis_server.url import Address
from kubecdc.storage.redis_server.wire import Server, Wire, pack
from kubecdc.storage.testing.actors import until
from tests.storage.redis_server import RedisServer

BLPOP = ("BLPOP", "nothing", 30)


class Sender:
    """A server, and commands to it that have ten seconds unless said otherwise."""

    def __init__(self, port: int, **more: Any) -> None:
        address = Address("127.0.0.1", port)
        make = partial(Connection, host=address.host, port=port, protocol=2, socket_timeout=None, **more)

        @asynccontextmanager
        async def connection() -> AsyncIterator[Connection]:
            yield make()

        self.server = Server(address, connection)

    async def send(self, *command: str | bytes | int, within: float = 10.0, waits: bool = False) -> Any:
        deadline = asyncio.get_running_loop().time() + within
        return await self.server.send(pack(*command), deadline, waits=waits)

    async def blocked(self) -> bool:
        return b"blocked_clients:1\r\n" in await self.send("INFO", "clients")

    async def ids(self, *, waits: bool = False) -> set[int]:
        """The ids of the connections that three concurrent commands use."""
        return set(await asyncio.gather(*(self.send("CLIENT", "ID", waits=waits) for _ in range(3))))


@pytest.fixture
async def sender(shared_redis: RedisServer) -> AsyncIterator[Sender]:
    sender = Sender(shared_redis.port)
    yield sender
    sender.server.close()
    await sender.server.wait_closed()


async def test_commands_share_a_connection_and_get_their_own_answers(sender: Sender) -> None:
    assert len(await sender.ids()) == 1
    bodies = [bytes([65 + number]) * 10**number for number in range(7)]
    assert await asyncio.gather(*(sender.send("ECHO", body) for body in bodies)) == bodies


@given(cuts=st.lists(st.integers(1, 200), max_size=30), given_up=st.sets(st.integers(0, 11)))
async def test_however_answers_are_cut_each_goes_where_it_belongs(cuts: list[int], given_up: set[int]) -> None:
    redis: Any = Connection(socket_timeout=None)
    redis._writer = SimpleNamespace(transport=Mock())
    wire = Wire(redis)
    sent = [wire.send(pack("ECHO", number), math.inf) for number in range(12)]
    for number in given_up:
        sent[number].cancel()
    answers = b"".join(
        f"-ERR {n}\r\n".encode() if n % 3 == 2 else f"*2\r\n$1\r\nx\r\n:{n}\r\n".encode() for n in range(12)
    )
    for cut in (*cuts, len(answers)):
        wire.data_received(answers[:cut])
        answers = answers[cut:]
    for number, found in enumerate(await asyncio.gather(*sent, return_exceptions=True)):
        if number in given_up:
            assert isinstance(found, asyncio.CancelledError)
        elif number % 3 == 2:
            assert isinstance(found, exceptions.ResponseError) and str(found) == f"{number}"
        else:
            assert found == [b"x", number]
    wire.close()


async def test_what_waits_in_the_server_holds_up_nobody_else(sender: Sender) -> None:
    waiting = asyncio.create_task(sender.send(*BLPOP, waits=True))
    await until(sender.blocked)
    assert await sender.send("ECHO", "here") == b"here"
    await sender.send("CLIENT", "UNBLOCK", *await _waiting(sender))
    assert await waiting is None


async def test_a_command_that_is_refused_is_an_error_of_its_own(sender: Sender) -> None:
    before = await sender.ids()
    answers: Any = await asyncio.gather(
        sender.send("ECHO", "1"), sender.send("NONSENSE"), sender.send("ECHO", "2"), return_exceptions=True
    )
    assert (answers[0], answers[2]) == (b"1", b"2")
    assert isinstance(answers[1], exceptions.ResponseError) and "unknown command" in str(answers[1])
    assert await sender.ids() == before


async def test_the_answer_of_whoever_gave_up_goes_to_nobody_else(sender: Sender) -> None:
    before = await sender.ids()
    waiting = asyncio.create_task(sender.send("BLPOP", "nothing", 30))
    other = asyncio.create_task(sender.send("ECHO", "mine"))
    async with _another(sender) as another:
        await until(another.blocked)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await another.send("RPUSH", "nothing", "not mine")
        assert await other == b"mine"
    assert await sender.ids() == before


async def test_whoever_gives_up_while_it_connects_does_so_alone() -> None:
    connected, came, may, left = 0, asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        came.set()
        await may.wait()
        while request := await reader.read(1000):
            writer.write(b"+OK\r\n" * request.count(b"CLIENT") or b"+PONG\r\n")
        writer.close()
        left.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        sender = Sender(server.sockets[0].getsockname()[1])
        first, second = asyncio.create_task(sender.send("PING")), asyncio.create_task(sender.send("PING"))
        hasty = asyncio.create_task(sender.send("PING", within=0.05))
        await came.wait()
        first.cancel()
        with pytest.raises(TimeoutError):
            await hasty
        may.set()
        assert await second == b"PONG"
        assert (first.cancelled(), connected) == (True, 1)
        sender.server.close()
        await left.wait()


async def test_a_server_that_is_not_there_is_an_error_for_each_and_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    sender = Sender(port)
    for _ in range(2):
        errors = await asyncio.gather(sender.send("PING"), sender.send("PING"), return_exceptions=True)
        assert [type(error) for error in errors] == [exceptions.ConnectionError] * 2
    await sender.server.wait_closed()


async def test_what_is_being_opened_when_it_is_closed_is_waited_for(shared_redis: RedisServer) -> None:
    sender = Sender(shared_redis.port)
    waiting = asyncio.create_task(sender.send("PING"))
    await asyncio.sleep(0)
    waiting.cancel()
    sender.server.close()
    await sender.server.wait_closed()
    assert waiting.cancelled()


async def test_a_connection_that_the_server_closed_is_no_error(sender: Sender) -> None:
    (first,) = await sender.ids()
    async with _another(sender) as another:
        await another.send("CLIENT", "KILL", "ID", first)
    await sender.server._wires[False].gone
    (second,) = await sender.ids()
    assert second != first


async def test_what_was_under_way_when_the_server_closed_it_is_one(sender: Sender) -> None:
    (id_,) = await sender.ids(waits=True)
    under_way = [asyncio.create_task(sender.send(*BLPOP, waits=True)) for _ in range(2)]
    await until(sender.blocked)
    await sender.send("CLIENT", "KILL", "ID", id_)
    for task in under_way:
        with pytest.raises(exceptions.ConnectionError):
            await task
    assert id_ not in await sender.ids(waits=True)


async def test_a_server_that_does_not_answer_in_time_is_left(sender: Sender) -> None:
    (id_,) = await sender.ids(waits=True)
    patient = asyncio.create_task(sender.send(*BLPOP, waits=True))
    hasty = asyncio.create_task(sender.send(*BLPOP, waits=True, within=0.05))
    for task in (hasty, patient):
        with pytest.raises(TimeoutError):
            await task
    assert id_ not in await sender.ids(waits=True)


async def test_an_answer_in_time_leaves_the_connection_alone(sender: Sender) -> None:
    before = await sender.ids()
    await sender.send("PING", within=0.05)
    await asyncio.sleep(0.1)
    assert await sender.ids() == before


async def test_a_server_that_speaks_otherwise_is_said() -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(1000):
            greeted = request.count(b"CLIENT")
            writer.write(b"+OK\r\n" * greeted or b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        left.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        sender = Sender(server.sockets[0].getsockname()[1])
        with pytest.raises(exceptions.ConnectionError, match="does not answer like a Redis server"):
            await sender.send("PING")
        await left.wait()


async def test_closing_ends_what_is_under_way(sender: Sender) -> None:
    waiting = asyncio.create_task(sender.send(*BLPOP, waits=True))
    await until(sender.blocked)
    sender.server.close()
    with pytest.raises(exceptions.ConnectionError):
        await waiting
    with pytest.raises(exceptions.ConnectionError, match="were closed"):
        await sender.send("PING")


@asynccontextmanager
async def _another(sender: Sender) -> AsyncIterator[Sender]:
    another = Sender(sender.server.address.port)
    try:
        yield another
    finally:
        another.server.close()


async def _waiting(sender: Sender) -> list[bytes]:
    """The id of the client that is blocked."""
    lines = (await sender.send("CLIENT", "LIST")).decode().splitlines()
    return [line.split()[0].removeprefix("id=").encode() for line in lines if " flags=b " in line]
