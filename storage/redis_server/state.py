"""State that workers share. Each value has a key of its own, which the server expires."""

from __future__ import annotations

from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.redis_server.connection import Connection


class RedisState:
    """`storage.contracts.StateStore`. A value is stored as its version, a space, and its bytes."""

    frequent = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, scope: str, key: str) -> StateEntry | None:
        found = await self._connection.keyed("GET", _name(scope, key))
        if found is None:
            return None
        version, _, value = found.partition(b" ")
        return StateEntry(value, version.decode())

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        milliseconds = int(change.ttl.total_seconds() * 1000)
        await self._change(scope, key, "put", change.follows, change.token, milliseconds, change.value)

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        await self._change(scope, key, "delete", version)

    async def _change(self, scope: str, key: str, *args: str | int | bytes) -> None:
        if not await self._connection.run("deliveries/state", _name(scope, key), *args):
            raise StateConflict.of(scope, key)


def _name(scope: str, key: str) -> str:
    return f"state:{scope}\n{key}"
