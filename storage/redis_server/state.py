"""State that workers share. Each value has a key of its own, which the server expires."""

from __future__ import annotations

from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.redis_server.connection import Connection

PAGE = 1000  # keys that one command reads


class RedisState:
    """`storage.contracts.StateStore`. A value is stored as its version, a space, and its bytes.

    The keys of a scope are in a sorted set, by the time when their values expire.
    """

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

    async def keys(self, scope: str) -> list[str]:
        seconds, _ = await self._connection.command("TIME")
        found: list[bytes] = []
        page = [b""] * PAGE
        while len(page) == PAGE:
            limits = (int(seconds) * 1000, "+inf", "LIMIT", len(found), PAGE)
            page = await self._connection.keyed("ZRANGEBYSCORE", f"states:{scope}", *limits)
            found += page
        return [key.decode() for key in dict.fromkeys(found)]


def _name(scope: str, key: str) -> str:
    return f"state:{scope}\n{key}"
