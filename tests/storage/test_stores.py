"""Checkpoints beside the bus: every store by itself, and under a bus that keeps its events elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from storage.testing import STORE_CASES, StoreCase, StoreHarness, commits
from storage.testing.case import Case
from tests.storage.conftest import SqliteHarness
from tests.storage.redis_server import RedisServer
from tests.storage.split import SplitHarness
from tests.storage.stores import RedisStores, SqliteStores


@pytest.fixture(params=["sqlite", "redis"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreHarness]:
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            server: RedisServer = request.getfixturevalue("shared_redis")
            yield RedisStores(server.url, request.node.name, stack)
        else:
            yield SqliteStores(tmp_path / "checkpoints.db", stack)


@pytest.mark.parametrize("case", STORE_CASES, ids=lambda case: case.name)
async def test_store(case: StoreCase, stores: StoreHarness) -> None:
    await case.run(stores)


@pytest.mark.parametrize("case", commits.CASES, ids=lambda case: case.name)
async def test_commits_of_a_split_bus(case: Case, stores: StoreHarness, harness: SqliteHarness) -> None:
    split = SplitHarness(harness, stores)
    if excuse := case.excuse(split.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(split)
