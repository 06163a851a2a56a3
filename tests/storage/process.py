"""A process on a bus that prints a line for each step: `python -m tests.storage.process ROLE PATH HOLDER ACKWAIT`."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path

import structlog

from kubecdc.storage.contracts import Inventoried
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.testing.actors import Leader, event

NAME = "billing"
BATCH = 20
OBJECTS = 8


def say(*words: object) -> None:
    print(*words, flush=True)


async def commit(bus: SqliteBus) -> None:
    """Commit batches without end, each with BATCH events and as many objects of the inventory."""
    async with bus.elector.lead() as term:
        leader = await Leader.take(bus, term=term.number)
        while True:
            first = leader.number * BATCH
            numbers = range(first, first + BATCH)
            await leader.commit(
                *(event(number, f"object-{number % OBJECTS}", padding=2000) for number in numbers),
                upserts={f"uid-{number}": Inventoried(str(number), "", "", True) for number in numbers},
            )
            say(leader.number)


async def work(bus: SqliteBus) -> None:
    """Ack deliveries without end. Prints each when it is received and before it is acked."""

    async for delivery in bus.subscription(NAME, prefetch=4).deliveries():
        received = time.monotonic()
        await delivery.start()
        say(delivery.event.partitionkey, int(delivery.event.sequence), received, time.monotonic())
        await delivery.ack()


async def lead(bus: SqliteBus) -> None:
    """Lead until killed."""
    async with bus.elector.lead() as term:
        say(term.number)
        await asyncio.Event().wait()


async def main(role: str, path: str, holder: str, ack_wait: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    bus = await open_bus(SqliteSettings(Path(path), ack_wait=timedelta(seconds=float(ack_wait))), holder=holder)
    await {"commit": commit, "work": work, "lead": lead}[role](bus)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
