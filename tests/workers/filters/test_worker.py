"""A worker with filters on a real bus: what passes is delivered, and all the rest is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from kubecdc.current import Current
from kubecdc.storage.contracts import Publication
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.actors import known
from kubecdc.workers import worker
from kubecdc.workers.plan import plan_of, subscriptions
from tests.workers.support import event, into, log_trigger, sensor

PHASES = ("Pending", "Running", "Failed", "Succeeded")
DEPENDENCY = {
    "name": "dep",
    "eventSourceName": "workflows",
    "eventName": "changed",
    "filters": {
        "exprs": [
            {
                "expr": 'phase in ("Failed", "Error") || retries > 18',
                "fields": [{"name": "phase", "path": "body.phase"}, {"name": "retries", "path": "body.retries"}],
            }
        ],
        "data": [{"path": "type", "type": "string", "value": ["^UPDATE$"]}],
        "context": {"type": "resource"},
    },
}


async def test_what_passes_is_delivered_and_the_rest_is_settled_without_a_success(tmp_path: Path) -> None:
    events = [
        event(n, key=f"k{n % 3}", data={"type": "UPDATE", "body": {"phase": PHASES[n % 4], "retries": n}})
        for n in range(20)
    ]
    events.append(event(20, key="k0", data={"type": "DELETE", "body": {"phase": "Failed", "retries": 0}}))
    made = sensor(log_trigger(), dependencies=[DEPENDENCY])
    lines: list[Mapping[str, object]] = []
    stop = asyncio.Event()
    bus = await open_bus(SqliteSettings(tmp_path / "bus.db", ack_wait=timedelta(seconds=30)), holder="one")
    try:
        await bus.register(subscriptions([made]))
        await bus.publisher.publish(Publication(events))
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            group.create_task(worker.run(bus, Current(plan_of([made])), Redelivery(), stop=stop, render=into(lines)))
            while known((await bus.subscriptions())[0].pending):  # noqa: ASYNC110 - no bus tells
                await asyncio.sleep(0.01)
            stop.set()
        [status] = await bus.subscriptions()
        assert status.dead_letters == 0
        assert await bus.subscription("s/t", prefetch=1).successes() == len(lines)
    finally:
        await bus.close()
    found = {line["eventContext"]["id"] for line in lines}  # type: ignore[index]
    assert found == {events[n].id for n in (2, 6, 10, 14, 18, 19)}
    assert len(lines) == 6
