"""A worker that runs during a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubecdc.current import Current
from kubecdc.storage.contracts import Bus
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.testing.actors import known
from kubecdc.workers import worker
from kubecdc.workers.plan import Plan, plan_of
from kubecdc.workers.sensor.manifest import Sensor


def redelivery(**given: Any) -> Redelivery:
    """Soon, unless it is given."""
    return Redelivery.model_validate({"backoff": {"duration": "10ms", "cap": "20ms"}, **given})


@asynccontextmanager
async def working(
    bus: Bus, made: Sensor, *, rules: Redelivery | None = None, **given: Any
) -> AsyncIterator[Current[Plan]]:
    """The triggers of a Sensor that is registered, until the end of the block. A test may replace the plan."""
    plan, stop = Current[Plan](plan_of([made])), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(bus, plan, rules or redelivery(), stop=stop, **given))
        try:
            yield plan
        finally:
            stop.set()


async def pending(bus: Bus) -> int:
    """How many events all subscriptions together have pending."""
    return sum(known(status.pending) for status in await bus.subscriptions())


async def settled(bus: Bus) -> None:
    """Wait until nothing is pending."""
    async with asyncio.timeout(60):
        while await pending(bus):  # noqa: ASYNC110 - no bus tells
            await asyncio.sleep(0.005)
