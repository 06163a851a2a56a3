"""Nothing of an object is in a job, where the bus encrypts."""

from __future__ import annotations

from pathlib import Path

from kubecdc.storage.redis_server.settings import ServerSettings
from tests.storage import redis_server
from tests.storage.at_rest import is_stored_nowhere
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import running
from tests.storage.rq.conftest import RqHarness


async def test_rq(tmp_path: Path) -> None:
    redis_server.require()
    folder = tmp_path / "redis"
    folder.mkdir()
    with running(RedisServer(folder)) as server:

        async def raw() -> bytes:
            return server.file.read_bytes()  # every command that has written something

        harness = RqHarness(ServerSettings(server.url, name="at-rest"))
        await is_stored_nowhere(harness.open, raw, tmp_path / "secrets")
        for bus in harness.opened:
            await bus.close()
