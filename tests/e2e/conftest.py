"""The API servers that the end-to-end tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.harness.servers import Server, open_server
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer


@pytest.fixture(params=["simulator", "real"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """A fresh API server that knows Argo's Workflow; the real one where KUBEBUILDER_ASSETS names it."""
    async with open_server(request.param, tmp_path / "server") as server:
        yield server


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Server]:
    """The simulator alone, where the rule is not about the API server."""
    async with open_server("simulator", tmp_path / "server") as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of its own."""
    redis_server.require()
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
