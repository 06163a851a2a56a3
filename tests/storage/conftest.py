from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
import uvloop
from fakeredis import FakeAsyncRedis, FakeServer

from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import bus as redis_bus
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis_server.client import Client
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import CAPABILITIES, SqliteBus
from tests.apiserver import LocalSimulator, RealApiServer, simulator
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import RedisCluster, RedisWithSentinel, running


@dataclass
class SqliteHarness:
    """A file for each test. What was opened is closed after the test."""

    path: Path
    capabilities: Capabilities = CAPABILITIES
    short: timedelta = timedelta(milliseconds=500)
    opened: list[SqliteBus] = field(default_factory=list)

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        return await self.sqlite(SqliteSettings(self.path, ack_wait=ack_wait, max_pending=max_pending), holder)

    async def sqlite(self, settings: SqliteSettings | None = None, holder: str = "one") -> SqliteBus:
        return await self.on(time.time, settings, holder)

    async def on(
        self, clock: Callable[[], float], settings: SqliteSettings | None = None, holder: str = "one"
    ) -> SqliteBus:
        bus = await open_bus(settings or SqliteSettings(self.path), holder=holder, clock=clock)
        self.opened.append(bus)
        return bus


ON_EACH_LOOP = {"test_wire.py", "test_redis_access.py"}  # that depend on how a loop has its transports, TLS too


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The commands run on uvloop, other consumers on any event loop."""
    usual = {"asyncio": asyncio.new_event_loop}
    return usual | {"uvloop": uvloop.new_event_loop} if item.path.name in ON_EACH_LOOP else usual


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    harness = SqliteHarness(tmp_path / "bus.db")
    yield harness
    for bus in harness.opened:
        await bus.close()


@dataclass
class RedisHarness:
    """A bus for each test, in the shared server or in a server of its own."""

    settings: RedisSettings
    capabilities: Capabilities = redis_bus.CAPABILITIES
    short: timedelta = timedelta(milliseconds=500)
    opened: list[RedisBus] = field(default_factory=list)

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        return await self.redis(replace(self.settings, ack_wait=ack_wait, max_pending=max_pending), holder)

    async def redis(self, settings: RedisSettings | None = None, holder: str = "one") -> RedisBus:
        bus = await open_redis(settings or self.settings, holder=holder)
        self.opened.append(bus)
        return bus


@asynccontextmanager
async def redis_harness_on(url: str, request: pytest.FixtureRequest) -> AsyncIterator[RedisHarness]:
    """Its bus is named after the test."""
    harness = RedisHarness(RedisSettings(url, name=request.node.nodeid, partitions=8))
    yield harness
    for bus in harness.opened:
        await bus.close()


@pytest.fixture
async def redis_harness(shared_redis: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RedisHarness]:
    async with redis_harness_on(shared_redis.url, request) as harness:
        yield harness


class FakeWires:
    """`storage.redis.wire.Server`, and fakeredis in its place."""

    def __init__(self, server: FakeServer) -> None:
        self._connections = FakeAsyncRedis(server=server, protocol=2).connection_pool

    async def send(self, command: bytes, deadline: float, *, waits: bool = False) -> Any:
        connection: Any = self._connections.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        await connection.send_packed_command(command)
        return await connection.read_response()

    def given_up(self) -> None:
        """A no-op: nothing is open."""

    close = given_up

    async def wait_closed(self) -> None:
        """A no-op: nothing is open."""


@pytest.fixture
async def fake_harness(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> AsyncIterator[RedisHarness]:
    """Without a server: fakeredis runs the scripts. It knows neither INFO nor ACLs."""
    server = FakeServer(server_type="redis", version=(7,))
    monkeypatch.setattr(Client, "_to", lambda *_, **__: FakeWires(server))
    for check in ("check", "require_rights"):
        monkeypatch.setattr(Connection, check, AsyncMock())
    async with redis_harness_on("redis://nowhere", request) as harness:
        yield harness


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Debian has it from 13 on, and this project's tests run on 12 too: so it may be missing also where CI is set."""
    if not shutil.which("valkey-server"):
        pytest.skip("there is no valkey-server: `apt-get install valkey-server`, where there is one")
    with running(RedisServer(tmp_path_factory.mktemp("valkey"), program="valkey-server")) as server:
        yield server


@pytest.fixture
async def valkey_harness(valkey: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RedisHarness]:
    async with redis_harness_on(valkey.url, request) as harness:
        yield harness


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three primaries, for tests that do not stop them."""
    redis_server.require()
    with running(RedisCluster(tmp_path_factory.mktemp("cluster"), primaries=3)) as cluster:
        yield cluster


@pytest.fixture
async def cluster_harness(shared_cluster: RedisCluster, request: pytest.FixtureRequest) -> AsyncIterator[RedisHarness]:
    async with redis_harness_on(shared_cluster.through(shared_cluster.nodes[:1]), request) as harness:
        yield harness


@pytest.fixture(scope="session")
def shared_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisWithSentinel]:
    """For tests that do not stop the servers."""
    redis_server.require()
    with running(RedisWithSentinel(tmp_path_factory.mktemp("sentinel"))) as servers:
        yield servers


@pytest.fixture
async def sentinel_harness(
    shared_sentinel: RedisWithSentinel, request: pytest.FixtureRequest
) -> AsyncIterator[RedisHarness]:
    async with redis_harness_on(shared_sentinel.url, request) as harness:
        yield harness


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["simulator", "real"])
def real(request: pytest.FixtureRequest) -> RealApiServer | None:
    """A real API server, or None for a simulated one."""
    found: RealApiServer | None = request.getfixturevalue("real_api") if request.param == "real" else None
    return found


@pytest.fixture
async def api(real: RealApiServer | None, stack: AsyncExitStack) -> AsyncIterator[LocalSimulator | RealApiServer]:
    if real is None:
        yield await stack.enter_async_context(simulator(rbac=True))
    else:
        yield real
        await real.close()
