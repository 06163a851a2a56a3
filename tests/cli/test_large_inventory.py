"""A hundred thousand objects, known to a bus in Redis."""

from __future__ import annotations

import time
import uuid

import pytest
from redis.asyncio import Redis

from kubecdc.storage.testing.actors import until
from tests.apiserver import WORKFLOWS, path_of, workflow
from tests.cli.rig import Desk

OBJECTS = 100_000
LISTED = 90.0  # seconds
RESUMED = 15.0  # seconds from the start of the process to the next change in the bus; it takes one or two
BLOCKED = 1.0  # seconds that one command may keep Redis from all others; some ten milliseconds are usual


def fill(desk: Desk) -> None:
    """Make the objects, past HTTP to save time."""
    simulator = desk.api.simulator
    target = simulator.kinds.resolve(path_of(*WORKFLOWS, "default", "any"))
    assert target
    for number in range(OBJECTS):
        body = workflow(f"flow-{number:06}", number=number)
        body["metadata"].update(namespace="default", uid=str(uuid.uuid4()), generation=1)
        simulator.store.put(target.kind, body)


@pytest.mark.long
async def test_the_first_list_of_many_objects_is_taken_in_and_a_restart_resumes_at_once(
    redis_desk: Desk, redis_url: str
) -> None:
    fill(redis_desk)
    async with Redis.from_url(redis_url) as redis:
        await redis.config_set("slowlog-log-slower-than", int(BLOCKED * 1e6))
        await redis.slowlog_reset()
        async with redis_desk.running("watch") as watch:
            await watch.until('"listed"', seconds=LISTED)
        (row,) = await redis_desk.rows("bus", "show")
        assert row["pending"] == OBJECTS

        await redis_desk.create("while-down")
        began = time.monotonic()
        async with redis_desk.running("watch") as watch:
            await watch.until('"leading"')
            await redis_desk.create("once-up")

            async def captured() -> bool:
                pending = await redis.hget("{kubecdc:default}:subscription:1", "pending")
                return int(pending or 0) == OBJECTS + 2

            await until(captured)
            took = time.monotonic() - began
        print(f"resumed {took:.1f} s after the start")
        assert took < RESUMED
        assert not watch.lines("listing"), "nothing is listed again"
        (checkpoint,) = await redis_desk.rows("checkpoint", "show")
        assert checkpoint["objects"] == OBJECTS + 2
        assert await redis.slowlog_get() == []
        await redis.flushdb()  # a hundred megabytes
