from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from redis import Redis

from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.redis_server.settings import ServerSettings
from kubecdc.storage.rq import bus as rq_bus
from kubecdc.storage.rq import open_bus
from kubecdc.storage.rq.bus import RqBus
from tests.storage.redis_server import RedisServer


@dataclass
class RqHarness:
    """A bus for each test, in the shared server or in a server of its own."""

    settings: ServerSettings
    capabilities: Capabilities = rq_bus.CAPABILITIES
    short: timedelta = timedelta(milliseconds=500)
    opened: list[RqBus] = field(default_factory=list)

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        return await self.rq(replace(self.settings, ack_wait=ack_wait, max_pending=max_pending), holder)

    async def rq(self, settings: ServerSettings | None = None, holder: str = "one") -> RqBus:
        bus = await open_bus(settings or self.settings, holder=holder)
        self.opened.append(bus)
        return bus


@pytest.fixture
async def rq_harness(shared_redis: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RqHarness]:
    harness = RqHarness(ServerSettings(shared_redis.database(3), name=request.node.name))
    yield harness
    for bus in harness.opened:
        await bus.close()


@pytest.fixture
def client(rq_harness: RqHarness) -> Iterator[Redis]:
    """What RQ's own classes are given."""
    with Redis.from_url(rq_harness.settings.url) as client:
        yield client
