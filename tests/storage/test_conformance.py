"""The suite that every back end passes, on SQLite and on a real Redis."""

from __future__ import annotations

import pytest

from storage.testing import CASES, Case
from tests.storage.conftest import RedisHarness, SqliteHarness


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_sqlite(case: Case, harness: SqliteHarness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(harness)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_redis(case: Case, redis_harness: RedisHarness) -> None:
    if excuse := case.excuse(redis_harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(redis_harness)
