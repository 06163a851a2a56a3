"""The connections to one server: taken, given back, and never used after something went wrong on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from redis import exceptions
from redis.asyncio.connection import Connection

from storage.redis.pool import Pool
from storage.redis_url import Address
from storage.testing.actors import until
from tests.storage.redis_server import RedisServer


@pytest.fixture
async def pool(shared_redis: RedisServer) -> AsyncIterator[Pool]:
    address = Address("127.0.0.1", shared_redis.port)
    pool = Pool(address, partial(Connection, host=address.host, port=address.port, protocol=2))
    yield pool
    await pool.close()


async def ids(pool: Pool, count: int) -> set[int]:
    """Of the connections that so many commands at a time use."""
    return set(await asyncio.gather(*(pool.send("CLIENT", "ID") for _ in range(count))))


async def test_commands_at_a_time_have_a_connection_each_and_use_it_again(pool: Pool) -> None:
    first = await ids(pool, 3)
    assert len(first) == 3
    assert await ids(pool, 3) == first
    assert await ids(pool, 1) <= first


async def test_a_command_that_is_refused_leaves_its_connection(pool: Pool) -> None:
    (first,) = await ids(pool, 1)
    with pytest.raises(exceptions.ResponseError, match="unknown command"):
        await pool.send("NONSENSE")
    assert await ids(pool, 1) == {first}


async def test_whoever_gives_up_leaves_no_answer_behind(pool: Pool) -> None:
    (first,) = await ids(pool, 1)
    waiting = asyncio.create_task(pool.send("BLPOP", "nothing", 30))
    await asyncio.sleep(0)  # it has taken the connection that is there
    await until(lambda: _blocked(pool))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await pool.send("ECHO", "mine") == b"mine"
    assert first not in await ids(pool, 2)


async def test_a_connection_that_the_server_closed_is_no_error(pool: Pool) -> None:
    first, second = await ids(pool, 2)
    for id_ in (first, second):
        await asyncio.gather(pool.send("CLIENT", "KILL", "ID", id_, "SKIPME", "no"), return_exceptions=True)
    assert await pool.send("ECHO", "here") == b"here"


async def test_closing_ends_what_is_under_way(pool: Pool) -> None:
    waiting = asyncio.create_task(pool.send("BLPOP", "nothing", 30))
    await until(lambda: _blocked(pool))
    await pool.close()
    with pytest.raises(exceptions.ConnectionError):
        await waiting
    with pytest.raises(exceptions.ConnectionError, match="were closed"):
        await pool.send("PING")


async def _blocked(pool: Pool) -> bool:
    return b"blocked_clients:1\r\n" in await pool.send("INFO", "clients")
