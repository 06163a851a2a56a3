"""A long-running process: it watches, works, or does both on each bus, until it receives a signal."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from kubecdc.backoff import Backoff
from kubecdc.cli import backlog
from kubecdc.cli.buses import subscriptions_of
from kubecdc.cli.manifests.loading import Manifests
from kubecdc.errors import Unavailable, most_relevant
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.contracts.types import Opening
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.opening import opened
from kubecdc.watcher.manifest import EventSource
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.triggers.contract import Render

if TYPE_CHECKING:
    from kubecdc.cli.election import Election
    from kubecdc.cluster.connection import Cluster

log = structlog.get_logger()
RETRY = Backoff(duration=0.5, cap=10.0)
GC_THRESHOLD = 10_000  # net allocations between two collections of the youngest objects; Python's default: 700
JSON_DEPTH = 12_000  # the API server reads JSON nested 10,000 deep (k8s.io/apimachinery); decoding recurses


@dataclass(frozen=True)
class Delivery:
    """How the worker side delivers: events in progress at once for each trigger, and the format of the log trigger."""

    concurrency: int
    render: Render


@dataclass(frozen=True)
class _BusUse:
    """A bus, and what this process does on it: the EventSources that it watches, the Sensors that it works for.

    ``subscriptions`` are those of all manifests, whatever this process does.
    """

    manifest: EventBus
    subscriptions: list[SubscriptionSpec]
    sources: list[EventSource]
    sensors: list[Sensor]


async def run(manifests: Manifests, opening: Opening, *, election: Election | None, delivery: Delivery | None) -> None:
    """Watch if there is an ``election``, and work if there is a ``delivery``, on every bus that the manifests use.

    Returns after SIGTERM or SIGINT, once everything in progress is settled. Raises the first KubecdcError.
    """
    # Kubernetes accepts an object that is nested this deep. It must not block all other objects.
    sys.setrecursionlimit(JSON_DEPTH)
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        cluster = await _open_cluster(stack, opening) if election else None
        sides: list[Coroutine[Any, Any, None]] = []
        uses = _bus_uses(manifests, watch=election is not None, work=delivery is not None)
        watched = sum(bool(use.sources) for use in uses)
        for use in uses:
            bus = await _open_and_register(stack, use, opening, stop)
            if bus is None:
                break
            if election and cluster and use.sources:
                sides += _watcher_side(use, bus, cluster, election, stop, watched)
            if delivery and use.sensors:
                sides.append(_worker_side(use, bus, opening, delivery, stop))
        collect_less_often()
        await _run_until_all_end(sides, stop)
    log.info("stopped")


async def _open_cluster(stack: AsyncExitStack, opening: Opening) -> Cluster:
    cluster = await stack.enter_async_context(opening.cluster.connect())
    log.info("cluster", **cluster.facts)
    return cluster


def collect_less_often() -> None:
    """Look for garbage less often, for it costs a fifth of an event: imported objects stay, events in work are none."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _bus_uses(manifests: Manifests, *, watch: bool, work: bool) -> list[_BusUse]:
    """The buses that this process uses, in the order of the manifests."""
    watched = list(manifests.sources.values()) if watch else []
    worked = list(manifests.sensors.values()) if work else []
    uses: list[_BusUse] = []
    for bus in manifests.buses.values():
        sources = [source for source in watched if source.spec.event_bus_name == bus.name]
        sensors = [sensor for sensor in worked if sensor.spec.event_bus_name == bus.name]
        if sources or sensors:
            uses.append(_BusUse(bus, subscriptions_of(manifests, bus), sources, sensors))
    return uses


async def _open_and_register(stack: AsyncExitStack, use: _BusUse, opening: Opening, stop: asyncio.Event) -> Bus | None:
    """Open the bus and register all subscriptions. From then on, the bus keeps every event for each of them.

    A bus that is unavailable is retried until it answers. None if the process is stopped before. Raises every other
    KubecdcError.
    """
    manifest, failures = use.manifest, 0
    while not stop.is_set():
        try:
            async with AsyncExitStack() as attempt:
                bus = await attempt.enter_async_context(opened(manifest, opening))
                await bus.register(use.subscriptions)
                await stack.enter_async_context(attempt.pop_all())
            log.info("bus", name=manifest.name, at=manifest.spec.queue_type.place(manifest.spec.queue))
            return bus
        except Unavailable as e:
            failures += 1
            if failures == 1:
                log.warning("waiting for the bus", name=manifest.name, error=str(e), hint=e.hint)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY.delay(failures)):
                    await stop.wait()
    return None


def _watcher_side(
    use: _BusUse, bus: Bus, cluster: Cluster, election: Election, stop: asyncio.Event, watched: int
) -> list[Coroutine[Any, Any, None]]:
    """``watched``: how many buses share the memory of this process."""
    from kubecdc.watcher import watcher

    elector = election.elector(bus, use.manifest, cluster)
    named = {spec.name for spec in use.subscriptions}
    return [
        _run_until_stop(watcher.run(bus, use.sources, cluster, elector, buses=watched), stop),
        _run_until_stop(backlog.watch(bus, named, use.manifest.spec.max_pending), stop),
    ]


def _worker_side(
    use: _BusUse, bus: Bus, opening: Opening, delivery: Delivery, stop: asyncio.Event
) -> Coroutine[Any, Any, None]:
    from kubecdc.workers import worker

    return worker.run(
        bus,
        use.sensors,
        use.manifest.spec.redelivery,
        concurrency=delivery.concurrency,
        stop=stop,
        render=delivery.render,
        mounts=opening.mounts,
    )


async def _run_until_all_end(sides: list[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run all sides until each has ended. The first that returns or fails sets ``stop``; the others then shut down."""

    async def run_one(side: Coroutine[Any, Any, None]) -> None:
        try:
            await side
        finally:
            stop.set()

    results = await asyncio.gather(*(run_one(side) for side in sides), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise most_relevant(failures[0])


async def _run_until_stop(side: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run a side that never returns, and cancel it when ``stop`` is set. A commit in progress takes effect or not."""
    task = asyncio.ensure_future(side)
    waiter = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
