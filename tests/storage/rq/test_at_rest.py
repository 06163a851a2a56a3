"""Nothing of an object is in a job, where the bus encrypts."""

from __future__ import annotations

from pathlib import Path

from kubecdc.storage.redis_server.settings import ServerSettings
from tests.storage.at_rest import is_stored_nowhere, redis_with_a_file
from tests.storage.rq.conftest import RqHarness


async def test_rq(tmp_path: Path) -> None:
    with redis_with_a_file(tmp_path) as (server, raw):
        harness = RqHarness(ServerSettings(server.url, name="at-rest"))
        await is_stored_nowhere(harness.open, raw, tmp_path / "secrets")
        for bus in harness.opened:
            await bus.close()
