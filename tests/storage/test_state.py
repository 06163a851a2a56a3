"""State that workers share: expiry by a clock that is set, a server that is killed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.storage.sqlite.file.connection import rows
from tests.clock import Clock
from tests.storage import redis_server
from tests.storage.conftest import SqliteHarness
from tests.storage.redis_server import RedisServer

SCOPE = "print/line"
MINUTE = timedelta(minutes=1)


async def test_what_has_expired_is_not_seen_and_is_deleted_by_retention(harness: SqliteHarness) -> None:
    clock = Clock()
    bus = await harness.on(clock)
    for number in range(3):
        await bus.state.put(SCOPE, f"key-{number}", StateChange(value=b"1", ttl=number * MINUTE or MINUTE))
    clock.now += 59.9
    assert await bus.state.get(SCOPE, "key-0") is not None
    clock.now += 0.1
    assert await bus.state.get(SCOPE, "key-0") is None
    await bus.retention.enforce()
    assert await bus._reader.submit(lambda db: rows(db, "SELECT key FROM state")) == [("key-2",)]
    assert await bus.state.get(SCOPE, "key-2") is not None


async def test_state_outlives_a_redis_that_is_killed_and_still_ends(tmp_path: Path) -> None:
    redis_server.require()
    server = RedisServer(tmp_path, "--appendfsync", "always")
    server.start()
    try:
        bus = await open_bus(RedisSettings(server.url), holder="one")
        given = StateChange(value=b"1", ttl=MINUTE)
        await bus.state.put(SCOPE, "key", given)
        await bus.close()
        server.kill()
        server.start()
        bus = await open_bus(RedisSettings(server.url), holder="one")
        assert await bus.state.get(SCOPE, "key") == StateEntry(b"1", given.token)
        (key,) = await bus._connection.command("KEYS", "*:state:*")
        assert key.startswith(b"{kubecdc:default}:state:")
        assert 0 < await bus._connection.command("PTTL", key) <= 60_000
        await bus.close()
    finally:
        server.kill()
