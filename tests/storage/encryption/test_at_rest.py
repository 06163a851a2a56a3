"""Nothing of an object is in the file of SQLite, nor in that of Redis, where the bus encrypts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storage.at_rest import is_stored_nowhere, redis_with_a_file
from tests.storage.conftest import SqliteHarness, redis_harness_on


async def test_sqlite(harness: SqliteHarness, tmp_path: Path) -> None:
    async def raw() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith(harness.path.name))

    await is_stored_nowhere(harness.open, raw, tmp_path / "secrets")


async def test_redis(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with redis_with_a_file(tmp_path) as (server, raw):
        async with redis_harness_on(server.url, request) as harness:
            await is_stored_nowhere(harness.open, raw, tmp_path / "secrets")
