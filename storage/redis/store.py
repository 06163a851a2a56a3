"""The checkpoint store ``redis``."""

from __future__ import annotations

from kubecdc.storage.contracts.types import Opening, Store, StoreType
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis.manifest import RedisCheckpoint
from kubecdc.storage.redis_server import require_library, url


class RedisStore(StoreType[RedisCheckpoint]):
    """The keys of a bus of that name, of which only checkpoints, state and election are used."""

    model = RedisCheckpoint
    example = f"{{url: '{url.EXAMPLES['server']}'}}"
    elsewhere = "another Redis than the bus"
    frequent = True

    def incomplete(self, spec: RedisCheckpoint) -> str:
        return "" if spec.url else "url"

    async def open(self, spec: RedisCheckpoint, bus: str, opening: Opening) -> Store:
        require_library("redis")
        from kubecdc.storage.redis.connected_store import ConnectedStore

        given = RedisSettings(
            url=spec.url or "",
            name=bus,
            access=spec.access(opening.keys),
            lead=opening.lead,
        )
        store = ConnectedStore(given, holder=opening.holder)
        await store.open()
        return store
