from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.apiserver import LocalSimulator, simulator
from tests.cli.rig import HOME, PUBSUB_BUS, REDIS_BUS, Desk
from tests.storage.pubsub.fake import FakePubSub
from tests.storage.redis_server import RedisServer


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    """An API server that allows only what a role grants."""
    async with simulator(rbac=True) as api:
        yield api


@pytest.fixture
async def alice(api: LocalSimulator, tmp_path: Path) -> Desk:
    """A desk of a user who may do nothing yet."""
    desk = Desk(tmp_path, api)
    await api.kubeconfig_of(desk.kubeconfig, "alice")
    return desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with simulator() as api:
        yield Desk(tmp_path, api)


@pytest.fixture
async def redis_url(shared_redis: RedisServer) -> str:
    """An empty database."""
    url = f"{shared_redis.url.removesuffix('/0')}/2"
    async with Redis.from_url(url) as redis:
        await redis.flushdb()
    return url


@pytest.fixture
async def redis_desk(desk: Desk, redis_url: str) -> Desk:
    """A desk whose bus is in Redis."""
    desk.write("bus.yaml", REDIS_BUS.format(url=redis_url))
    return desk


@pytest.fixture
async def laptop(desk: Desk) -> AsyncIterator[Desk]:
    """A desk whose bus is in Pub/Sub; what belongs to it in the cluster is in the namespace ``HOME``."""
    async with FakePubSub(least_ack=1, pull_wait=0.3) as fake:
        desk.environment["PUBSUB_EMULATOR_HOST"] = fake.address
        desk.write("bus.yaml", PUBSUB_BUS)
        await desk.api.make_namespaces(HOME)
        yield desk
