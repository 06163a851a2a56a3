"""A bus in Redis and its bounds: memory, backlog, and what it keeps of what is settled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import Desk, Running
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer

pytestmark = pytest.mark.long

BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec:
  redis: {{url: "{url}", partitions: 4}}
  {more}
"""
MEMORY = 6 << 20
SIZE = 100_000
DELIVERED = 60.0  # seconds: a full watcher looks every 5 s whether there is room


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One of its own, with little memory."""
    redis_server.require()
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "--maxmemory", str(MEMORY))
    server.start()
    yield server
    server.kill()


async def create(desk: Desk, names: list[str], size: int = 0) -> None:
    for name in names:
        body = workflow(name)
        body["metadata"].setdefault("annotations", {})["padding"] = "x" * size
        await desk.api.create(*WORKFLOWS, "default", body)


async def delivered(work: Running, names: list[str]) -> None:
    """Wait until as many lines are written, and each must be of one of these."""
    async with asyncio.timeout(DELIVERED):
        while work.out.count('"eventContext"') < len(names):  # noqa: ASYNC110 (a process does not tell)
            await asyncio.sleep(0.2)
    written = re.findall(r'"partitionkey":"workflows.argoproj.io/default/([^"]+)"', work.out)
    assert sorted(written) == sorted(names), "each once"


async def backlog(desk: Desk, least: int) -> None:
    """Wait until the one subscription has so many pending events."""
    async with asyncio.timeout(DELIVERED):
        while int(str((await desk.rows("bus", "show"))[0]["pending"])) < least:
            pass


async def recovered(watch: Running, trouble: str) -> None:
    """Wait until each time that it was said its end is said too; that takes a second of calm."""
    async with asyncio.timeout(DELIVERED):
        while len(watch.lines("recovered")) < len(watch.lines(trouble)):  # noqa: ASYNC110 (a process does not tell)
            await asyncio.sleep(0.2)


async def test_a_redis_without_memory_blocks_the_watcher_and_not_the_workers(desk: Desk, redis: RedisServer) -> None:
    desk.write("bus.yaml", BUS.format(url=redis.url, more="retentionBytes: 1Mi"))
    names = [f"flow-{number}" for number in range(MEMORY // SIZE * 3 // 2)]
    async with desk.running("watch") as watch:
        await watch.until('"leading"')
        await create(desk, names, SIZE)
        await watch.until("is full: its maxmemory is reached")
        async with desk.running("work") as work:  # comes to a full Redis, and makes room
            await delivered(work, names)
        await recovered(watch, "is full")
    full = watch.lines("is full")
    assert all("raise maxmemory" in str(line["hint"]) for line in full)
    assert len(full) == len(watch.lines("recovered")), "said once each time"


async def test_a_full_backlog_blocks_the_watcher_and_names_who_holds_it(desk: Desk, redis: RedisServer) -> None:
    desk.write("bus.yaml", BUS.format(url=redis.url, more="maxPending: 5"))
    names = [f"flow-{number}" for number in range(20)]
    async with desk.running("watch") as watch:
        await watch.until('"leading"')
        await create(desk, names[:10])
        await backlog(desk, 5)  # all events in one commit would be no more than the bus takes at once
        await create(desk, names[10:])
        await watch.until("the bus is full: subscription 'print/line' has")
        async with desk.running("work") as work:
            await delivered(work, names)
        await recovered(watch, "the bus is full")
    full = watch.lines("the bus is full")
    assert all("maxPending" in str(line["hint"]) for line in full)
    assert len(full) == len(watch.lines("recovered")), "said once each time"


async def test_only_what_everybody_has_settled_is_forgotten(desk: Desk, redis: RedisServer) -> None:
    own = "subscriptions: [{name: billing, eventSourceName: workflows, eventName: changed}]"
    desk.write("bus.yaml", BUS.format(url=redis.url, more=f"retention: 0s\n  {own}"))
    names = [f"flow-{number}" for number in range(10)]

    async def retained() -> int:
        done = await desk.call("replay", "--subscription", "print/line", "--dry-run")
        return int(done.out.split()[0])

    async with desk.running("watch") as watch:
        await watch.until('"leading"')
        async with desk.running("work") as work:
            await create(desk, names)
            await delivered(work, names)
    async with desk.running("watch") as watch:  # who begins to lead sweeps
        await watch.until('"leading"')
        assert await retained() == len(names), "billing is owed them"
    desk.write("bus.yaml", BUS.format(url=redis.url, more="retention: 0s"))
    assert (await desk.call("bus", "prune", "billing", "--yes")).code == 0
    async with desk.running("watch") as watch:
        await watch.until('"leading"')
        async with asyncio.timeout(DELIVERED):
            while await retained():
                pass


async def test_a_redis_that_may_evict_is_refused_with_the_fix(desk: Desk, tmp_path: Path) -> None:
    redis_server.require()
    server = RedisServer(tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    server.start()
    try:
        desk.write("bus.yaml", BUS.format(url=server.url, more="maxPending: 5"))
        done = await desk.call("run")
        assert done.code == 1, done.err
        assert "may evict events when its memory is full (maxmemory-policy allkeys-lru)" in done.err
        assert "CONFIG SET maxmemory-policy noeviction" in done.err
    finally:
        server.kill()
