from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.apiserver import simulator
from tests.cli.rig import REDIS_BUS, Desk
from tests.storage.redis_server import RedisServer


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with simulator() as api:
        yield Desk(tmp_path, api)


@pytest.fixture
async def redis_desk(desk: Desk, shared_redis: RedisServer) -> Desk:
    """A desk whose bus is in Redis, in an empty database."""
    url = f"{shared_redis.url.removesuffix('/0')}/2"
    desk.write("bus.yaml", REDIS_BUS.format(url=url))
    async with Redis.from_url(url) as redis:
        await redis.flushdb()
    return desk
