"""A long-running process: it watches, works, or does both on each bus, until it receives a signal.

Each bus is on its own: it is opened, waited for and worked on whatever becomes of the others.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from kubecdc.backoff import Backoff
from kubecdc.cli import backlog, presence, recording, system_clock
from kubecdc.cli.buses import entries_of, holder, subscriptions_of
from kubecdc.cli.ending import Stop
from kubecdc.cli.manifests.loading import Manifests
from kubecdc.cli.parts import run_until_all_end, run_until_stop
from kubecdc.cli.serving.bus_probe import BusProbe
from kubecdc.cli.serving.health import Health
from kubecdc.cli.serving.metrics import BUS_UP, LIMIT, Scrapes
from kubecdc.cli.serving.subscriptions import Subscriptions
from kubecdc.cli.status.reporter import Reporter
from kubecdc.cluster.shared import SharedCluster
from kubecdc.errors import Unavailable
from kubecdc.metrics import Series
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
    from kubecdc.cluster.recorder import Recorder

log = structlog.get_logger()
RETRY = Backoff(duration=0.5, cap=10.0)
THREADS = 64  # at most: for what blocks, and for names where uvloop is not installed
GC_THRESHOLD = 10_000  # net allocations between two collections of the youngest objects; Python's default: 700


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


async def run(
    manifests: Manifests,
    opening: Opening,
    *,
    election: Election | None,
    delivery: Delivery | None,
    health: Health,
    scrapes: Scrapes,
) -> None:
    """Watch if there is an ``election``, and work if there is a ``delivery``, on every bus that the manifests use.

    ``health`` and ``scrapes`` are told of all.

    Returns after SIGTERM or SIGINT, once everything in progress is settled. Raises the first KubecdcError. What has not
    ended in time is left behind, and the process with it (`Stop`).
    """
    # The default is a few for each core, which a few calls that hang would use up.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    stop = Stop()
    stop.listen()
    health.require("stop", lambda: "the process was told to stop" if stop.event.is_set() else "")
    async with AsyncExitStack() as stack:
        beating = asyncio.create_task(health.turn())
        stack.callback(beating.cancel)
        cluster = await _open_cluster(stack, opening) if election else None
        if cluster is not None:
            health.require("API server", partial(getattr, cluster, "trouble"))
        uses = _bus_uses(manifests, watch=election is not None, work=delivery is not None)
        shared = SharedCluster(opening.cluster.connect, opening.cluster.namespace)
        stack.push_async_callback(shared.aclose)
        uses_cluster = any(sensor.uses_cluster for use in uses for sensor in use.sensors)
        recorder = recording.begin(stack, cluster, shared, uses_cluster=uses_cluster)
        if uses_cluster:
            await shared.objects()
            if cluster is None:
                log.info("cluster", code="cluster", **shared.facts)
        watched = sum(bool(use.sources) for use in uses)

        def sides(use: _BusUse, bus: Bus) -> list[Coroutine[Any, Any, None]]:
            found: list[Coroutine[Any, Any, None]] = []
            if election and cluster and use.sources:
                found += _watcher_side(use, bus, cluster, election, stop.event, watched, recorder)
            if delivery and use.sensors:
                found.append(_worker_side(use, bus, opening, delivery, shared, stop.event, recorder))
            return found

        parts = [_serve(use, opening, stop, health, scrapes, sides) for use in uses]
        clock = [run_until_stop(system_clock.watch(), stop.event)] if uses else []
        await run_until_all_end([*parts, *clock], stop)
    log.info("stopped", code="stopped")


async def _serve(
    use: _BusUse,
    opening: Opening,
    stop: Stop,
    health: Health,
    scrapes: Scrapes,
    sides: Callable[[_BusUse, Bus], list[Coroutine[Any, Any, None]]],
) -> None:
    """Open one bus, and run its sides until the process stops."""
    probe, name = BusProbe(), use.manifest.name
    health.require(f"bus {name}", probe.why_not)
    async with AsyncExitStack() as stack:
        exported = stack.enter_context(closing(Series()))
        exported.read(BUS_UP, lambda: probe.up, name)
        bus = await _open_and_register(stack, use, opening, stop.event)
        if bus is not None:
            collect_less_often()
            if bus.capabilities.limits_backlog:
                exported.read(LIMIT, lambda: use.manifest.spec.max_pending, name)
            numbers = Subscriptions(name, bus, exported)
            stack.callback(scrapes.before(numbers.refresh))
            worked = [subscription for sensor in use.sensors for subscription, _, _ in sensor.subscriptions()]
            reporter = Reporter(name, bus, holder(), entries=entries_of(use.sources), subscriptions=worked)
            all_ = use.subscriptions
            helpers = presence.keep(bus, all_), probe.watch(bus, all_), numbers.keep(), reporter.keep()
            parts = [*sides(use, bus), *(run_until_stop(each, stop.event) for each in helpers)]
            try:
                await run_until_all_end(parts, stop)
            except Exception as e:
                await reporter.last_words(e)
                raise


async def _open_cluster(stack: AsyncExitStack, opening: Opening) -> Cluster:
    cluster = await stack.enter_async_context(opening.cluster.connect())
    log.info("cluster", code="cluster", **cluster.facts)
    return cluster


def collect_less_often() -> None:
    """Look for garbage less often, for it costs a fifth of an event: imported objects stay, events in work are none."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


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

    async def open_once() -> Bus:
        async with AsyncExitStack() as attempt:
            bus = await attempt.enter_async_context(opened(manifest, opening))
            await bus.register(use.subscriptions)
            await stack.enter_async_context(attempt.pop_all())
        return bus

    manifest, failures = use.manifest, 0
    while not stop.is_set():
        try:
            bus = await run_until_stop(open_once(), stop)
        except Unavailable as e:
            failures += 1
            if failures == 1:
                log.warning("waiting for the bus", code="bus-waiting", name=manifest.name, error=str(e), hint=e.hint)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY.delay(failures)):
                    await stop.wait()
        else:
            if bus is not None:
                log.info("bus", code="bus", name=manifest.name, at=manifest.spec.queue_type.place(manifest.spec.queue))
            return bus
    return None


def _watcher_side(
    use: _BusUse,
    bus: Bus,
    cluster: Cluster,
    election: Election,
    stop: asyncio.Event,
    watched: int,
    recorder: Recorder | None,
) -> list[Coroutine[Any, Any, None]]:
    """``watched``: how many buses share the memory of this process."""
    from kubecdc.watcher import watcher

    elector = election.elector(bus, use.manifest, cluster)
    named = {spec.name for spec in use.subscriptions}
    watching = watcher.run(bus, use.sources, cluster, elector, buses=watched, name=use.manifest.name, recorder=recorder)
    return [
        run_until_stop(watching, stop),
        run_until_stop(backlog.watch(bus, named, use.manifest.spec.max_pending), stop),
    ]


def _worker_side(
    use: _BusUse,
    bus: Bus,
    opening: Opening,
    delivery: Delivery,
    cluster: SharedCluster,
    stop: asyncio.Event,
    recorder: Recorder | None,
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
        cluster=cluster,
        recorder=recorder,
    )
