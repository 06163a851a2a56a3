"""A process that commits to an rq bus without end: `python -m tests.storage.rq.process URL NAME`."""

from __future__ import annotations

import asyncio
import sys

import structlog

from kubecdc.storage.contracts import Inventoried
from kubecdc.storage.rq import ServerSettings, open_bus
from kubecdc.storage.testing.actors import Leader, event

BATCH = 20
OBJECTS = 8


async def main(url: str, name: str) -> None:
    """Batches with BATCH events, and as many objects of the inventory. Prints the number of each commit."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    bus = await open_bus(ServerSettings(url, name=name), holder="child")
    async with bus.elector.lead() as term:
        leader = await Leader.take(bus, term=term.number)
        while True:
            numbers = range(leader.number * BATCH, (leader.number + 1) * BATCH)
            await leader.commit(
                *(event(number, f"object-{number % OBJECTS}", padding=2000) for number in numbers),
                upserts={f"uid-{number}": Inventoried(str(number), "", "", True) for number in numbers},
            )
            print(leader.number, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
