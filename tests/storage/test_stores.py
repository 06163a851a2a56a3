"""Checkpoint stores: each one alone, and with a bus that keeps its events in another system."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kubecdc.storage.testing import STORE_CASES, StoreCase, StoreHarness, commits
from kubecdc.storage.testing.case import Case
from tests.apiserver import RealApiServer, simulator
from tests.storage.conftest import SqliteHarness
from tests.storage.redis_server import RedisServer
from tests.storage.split import SplitHarness
from tests.storage.stores import ConfigMapStores, RedisStores, SqliteStores


@pytest.fixture(params=["sqlite", "redis", "configmap", "configmap-real"])
def server(request: pytest.FixtureRequest) -> RedisServer | RealApiServer | str:
    """What a store needs to run, or no more than its name."""
    fixture = {"redis": "shared_redis", "configmap-real": "real_api"}.get(request.param)
    started: RedisServer | RealApiServer | str = request.getfixturevalue(fixture) if fixture else request.param
    return started


@pytest.fixture
async def stores(server: RedisServer | RealApiServer | str, tmp_path: Path) -> AsyncIterator[StoreHarness]:
    name = f"checkpoint-{uuid.uuid4().hex}"
    async with AsyncExitStack() as stack:
        match server:
            case RedisServer():
                yield RedisStores(server.url, name, stack)
            case RealApiServer():
                yield ConfigMapStores(server.kubeconfig(tmp_path / "kubeconfig"), name, stack)
            case "configmap":
                api = await stack.enter_async_context(simulator())
                yield ConfigMapStores(api.kubeconfig(tmp_path / "kubeconfig"), name, stack)
            case _:
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
