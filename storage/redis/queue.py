"""The EventBus type ``redis``."""

from __future__ import annotations

from kubecdc.manifest.model import Model
from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.storage.redis.manifest import Redis, RedisCheckpoint
from kubecdc.storage.redis_server import url


class RedisQueue(QueueType[Redis]):
    """Redis Streams, shared by any number of machines."""

    model = Redis
    example = f"{{url: '{url.EXAMPLES['server']}'}}"
    holds_checkpoint = True

    def place(self, spec: Redis) -> str:
        return url.parse(spec.url).place

    def same_place(self, spec: Redis, store: Model) -> bool:
        return isinstance(store, RedisCheckpoint) and store.url in {None, spec.url}

    def store(self, spec: Redis, bus: str) -> str:
        return f"{self.place(spec)}, bus {bus}"

    async def open(self, spec: Redis, settings: BusSettings, opening: Opening) -> Bus:
        given = RedisSettings(
            url=spec.url,
            name=settings.name,
            partitions=spec.partitions,
            ack_wait=settings.ack_wait,
            retention=settings.retention,
            retention_bytes=settings.retention_bytes,
            max_pending=settings.max_pending,
            access=spec.access(opening.keys),
            lead=opening.lead,
        )
        return await open_bus(given, holder=opening.holder, create=opening.create)
