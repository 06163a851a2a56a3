"""Nothing of an object is in the file of SQLite, nor in that of Redis, where the bus encrypts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storage import redis_server
from tests.storage.at_rest import is_stored_nowhere
from tests.storage.conftest import SqliteHarness, redis_harness_on
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import running


async def test_sqlite(harness: SqliteHarness, tmp_path: Path) -> None:
    async def raw() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith(harness.path.name))

    await is_stored_nowhere(harness.open, raw, tmp_path / "secrets")


async def test_redis(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    redis_server.require()
    folder = tmp_path / "redis"
    folder.mkdir()
    with running(RedisServer(folder)) as server:

        async def raw() -> bytes:
            return server.file.read_bytes()  # every command that has written something

        async with redis_harness_on(server.url, request) as harness:
            await is_stored_nowhere(harness.open, raw, tmp_path / "secrets")
