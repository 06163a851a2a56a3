"""What an operator may set on a Redis bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from kubecdc.storage.redis_server.settings import ServerSettings

SCRIPTS = "kubecdc.storage.redis"  # the package that has the scripts of this bus


@dataclass(frozen=True)
class RedisSettings(ServerSettings):
    """``partitions`` is fixed when the bus is made: how many streams the events of an entry go to, and so how many
    workers of a subscription can share the work. ``retention`` and ``retention_bytes`` (of event bodies) bound the
    events that every subscription has settled.
    """

    partitions: int = 64
    retention: timedelta = timedelta(hours=24)
    retention_bytes: int = 1 << 30
