"""The event bus on Redis Streams: any number of watchers and workers, on any machines."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubecdc.storage.redis.settings import RedisSettings
from kubecdc.storage.redis_server import require_library
from kubecdc.storage.redis_server.settings import Access

if TYPE_CHECKING:
    from kubecdc.storage.redis.bus import RedisBus

__all__ = ["Access", "RedisSettings", "open_bus"]


async def open_bus(
    settings: RedisSettings,
    *,
    holder: str,
    create: bool = True,
    rng: random.Random | None = None,
    now: Callable[[], float] | None = None,
) -> RedisBus:
    """Open the bus, making it if it is not there. ``holder`` names this process, for people.

    ``now`` is the monotonic clock of what this process holds; all other times are the server's. Raises UsageError for a
    URL or partitions that cannot be used, where redis-py is not installed, and without `create` for a bus that is not
    there; Refused for a Redis that may evict or is too old; Unavailable if it does not answer.
    """
    require_library("redis")
    from kubecdc.storage.redis.bus import RedisBus

    bus = RedisBus(settings, holder=holder, rng=rng or random.Random(), now=now)  # spreads waits, no secret
    await bus.open(create=create)
    return bus
