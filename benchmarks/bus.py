"""A bus without watches and triggers: ``python -m benchmarks.bus rates|commits EVENTBUS EVENTS``.

The events and their commits are those of `kubecdc watch`, and the prefetch and the garbage
collection those of `kubecdc work`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing
from statistics import median
from typing import NoReturn, cast

import msgspec
import uvloop

from benchmarks import setup
from benchmarks.objects import BASE, KINDS
from kubecdc.concurrency import Limit
from kubecdc.storage.contracts import Batch, Bus, Delivery, Inventoried, SubscriptionSpec
from kubecdc.storage.contracts.event import Event, event_id, partition_key, sequence
from kubecdc.storage.contracts.types import ClusterAccess, Opening
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.opening import opened
from kubecdc.storage.testing.actors import Leader
from kubecdc.watcher.capture.stream import BATCH
from kubecdc.workers.settings import Settings

SPEC = SubscriptionSpec("bench/act", "bench", "changed")
OBJECTS = 1000
PREFETCH = Settings.concurrency
WARM, MEASURED = 10, 10  # commits that are not counted, and that are counted


async def rates(bus: Bus, events: int) -> dict[str, float]:
    """How many events a second are committed, and then received and acked."""
    leader = await Leader.take(bus)
    begun = time.perf_counter()
    await Limit(bus.publisher.under_way).map(leader.send, batches(leader, events))
    published = time.perf_counter()
    await acked(bus, events)
    return {"publish": events / (published - begun), "consume": events / (time.perf_counter() - published)}


async def commits(bus: Bus, events: int) -> dict[str, float]:
    """The seconds of a commit of as many events of as many objects.

    Raises AssertionError unless these, and as many of one object, arrive in order.
    """
    leader = await Leader.take(bus)
    seconds = []
    for batch in batches(leader, (WARM + MEASURED) * events, events):
        begun = time.perf_counter()
        await leader.send(batch)
        seconds.append(time.perf_counter() - begun)
    for batch in batches(leader, events, 1, first=events):
        await leader.send(batch)
    found: dict[str, list[str]] = defaultdict(list)

    def note(delivery: Delivery) -> None:
        found[delivery.event.partitionkey].append(delivery.event.sequence)

    await acked(bus, (WARM + MEASURED + 1) * events, note)
    assert len(found) == events + 1
    assert {len(some) for some in found.values()} == {WARM + MEASURED, events}, "events were lost or repeated"
    assert all(some == sorted(some) for some in found.values()), "events did not arrive in the order of their object"
    return {"seconds": median(seconds[WARM:])}


def batches(leader: Leader, events: int, objects: int = OBJECTS, first: int = 0) -> Iterator[Batch]:
    """Commits of as many events as a watcher has in one, of as many objects from the ``first`` on.

    The number of the leader advances with each.
    """
    changed = [event(first + number % objects, number) for number in range(events)]
    for start in range(0, events, BATCH):
        some = changed[start : start + BATCH]
        upserts = {event.id: Inventoried(event.sequence, "production", event.partitionkey, True) for event in some}
        yield leader.batch(some, upserts=upserts)
        leader.number += 1


def event(object_: int, version: int) -> Event:
    """A change of a Workflow, as a watcher makes it."""
    body = KINDS["workflow"].object(object_, BASE + version)
    return Event(
        specversion="1.0",
        id=event_id(SPEC.subject, f"{object_:08x}-0000-4000-8000-000000000000", str(BASE + version), "UPDATE"),
        source=SPEC.source,
        subject=SPEC.subject,
        type="resource",
        time="2026-03-01T12:00:00Z",
        datacontenttype="application/json",
        partitionkey=partition_key("workflows", "argoproj.io", "production", f"object-{object_:06d}"),
        sequence=sequence(str(BASE + version)),
        epoch=1,
        data=msgspec.Raw(b'{"type":"UPDATE","body":%s}' % body),
    )


async def acked(
    bus: Bus, events: int, note: Callable[[Delivery], object] = lambda delivery: None, *, name: str = SPEC.name
) -> None:
    """Receive so many deliveries, and ack each as soon as it is there. Nothing of them is kept, as in a worker."""
    deliveries = cast(AsyncGenerator[Delivery, None], bus.subscription(name, prefetch=PREFETCH).deliveries())
    async with aclosing(deliveries), asyncio.TaskGroup() as settling:
        async for delivery in deliveries:
            note(delivery)
            settling.create_task(_settle(delivery))
            events -= 1
            if not events:
                break


async def _settle(delivery: Delivery) -> None:
    await delivery.start()
    assert delivery.body
    await delivery.ack()


def _no_cluster() -> NoReturn:
    raise AssertionError("a bus that is measured needs no cluster")


def opened_bus(spec: str) -> AbstractAsyncContextManager[Bus]:
    """The bus of an EventBus with that spec, in JSON."""
    manifest = {"apiVersion": "kubecdc.io/v1alpha1", "kind": "EventBus", "metadata": {"name": "default"}}
    bus_manifest = EventBus.model_validate({**manifest, "spec": msgspec.json.decode(spec)})
    return opened(bus_manifest, Opening("the benchmark", ClusterAccess(_no_cluster)))


async def main(mode: str, spec: str, events: int) -> None:
    async with opened_bus(spec) as bus:
        await bus.register([SPEC])
        setup.begin()
        print(msgspec.json.encode(await {"rates": rates, "commits": commits}[mode](bus, events)).decode())


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
