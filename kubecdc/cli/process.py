"""A long-running process: it watches, works, or does both on each bus, until it receives a signal.

Each bus is on its own: it is opened, waited for and worked on whatever becomes of the others.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from kubecdc.cli import backlog, presence, recording, system_clock
from kubecdc.cli.buses import holder
from kubecdc.cli.ending import Stop
from kubecdc.cli.parts import run_until_all_end, run_until_stop
from kubecdc.cli.reload.hangup import Hangup
from kubecdc.cli.reload.on_bus import OnBus, until_available
from kubecdc.cli.reload.reloading import Reloading
from kubecdc.cli.reload.uses import Uses
from kubecdc.cli.serving.bus_probe import BusProbe
from kubecdc.cli.serving.health import Health
from kubecdc.cli.serving.metrics import BUS_UP, LIMIT, Scrapes
from kubecdc.cli.serving.subscriptions import Subscriptions
from kubecdc.cli.status.reporter import Reporter
from kubecdc.cluster.shared import SharedCluster
from kubecdc.metrics import Series
from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.types import Opening
from kubecdc.storage.opening import opened
from kubecdc.workers.addresses import EVERYWHERE, Addresses
from kubecdc.workers.triggers.contract import Render

if TYPE_CHECKING:
    from kubecdc.cli.election import Election
    from kubecdc.cluster.connection import Cluster
    from kubecdc.cluster.recorder import Recorder

log = structlog.get_logger()
THREADS = 64  # at most: for what blocks, and for names where uvloop is not installed
LARGE_BLOCK = 4 << 20  # bytes
GC_THRESHOLD = 10_000  # net allocations between two collections of the youngest objects; Python's default: 700


@dataclass(frozen=True)
class Delivery:
    """How the worker side delivers: events in progress at once for each trigger, the format of the log trigger, and
    where triggers may connect to.
    """

    concurrency: int
    render: Render
    addresses: Addresses = EVERYWHERE


async def run(
    uses: Uses,
    opening: Opening,
    *,
    election: Election | None,
    delivery: Delivery | None,
    health: Health,
    scrapes: Scrapes,
    reloading: Reloading | None = None,
    hangup: Hangup,
) -> None:
    """Watch if there is an ``election``, and work if there is a ``delivery``, on every bus of ``uses``.

    ``health`` and ``scrapes`` are told of all. ``reloading`` brings what the manifests ask for later, at SIGHUP
    too.

    Returns after SIGTERM or SIGINT, once everything in progress is settled. Raises the first KubecdcError. What has not
    ended in time is left behind, and the process with it (`Stop`).
    """
    # The default is a few for each core, which a few calls that hang would use up.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    stop = Stop()
    stop.listen()
    hangup.listen(reloading.ask if reloading else _cannot_reload, stop.tell)
    health.require("stop", lambda: "the process was told to stop" if stop.event.is_set() else "")
    async with AsyncExitStack() as stack:
        beating = asyncio.create_task(health.turn())
        stack.callback(beating.cancel)
        cluster = await _open_cluster(stack, opening) if election else None
        if cluster is not None:
            health.require("API server", partial(getattr, cluster, "trouble"))
        shared = opening.cluster.shared()
        stack.push_async_callback(shared.aclose)
        uses_cluster = any(use.needs_cluster for use in uses.values())
        recorder = recording.begin(stack, cluster, shared, uses_cluster=uses_cluster)
        if uses_cluster:
            await shared.objects()
            if cluster is None:
                log.info("cluster", code="cluster", **shared.facts)
        watched = sum(use.watched for use in uses.values())

        def sides(on: OnBus, bus: Bus) -> list[Coroutine[Any, Any, None]]:
            found: list[Coroutine[Any, Any, None]] = []
            if election and cluster and on.use.watched:
                found += _watcher_side(on, bus, cluster, election, stop.event, watched, recorder)
            if delivery:
                found.append(_worker_side(on, bus, opening, delivery, shared, stop.event, recorder))
            return found

        buses = {name: OnBus(use) for name, use in uses.items()}
        parts = [_serve(on, opening, stop, health, scrapes, sides) for on in buses.values()]
        beside = [system_clock.watch()] if uses else []
        if reloading is not None:
            beside.append(reloading.run(buses, shared))
        await run_until_all_end([*parts, *(run_until_stop(each, stop.event) for each in beside)], stop)
    log.info("stopped", code="stopped")


def _cannot_reload() -> None:
    what = "the manifests cannot be read again: they came from standard input or a pipe"
    log.warning(what, code="reload-impossible", hint="give a file or a directory with -f, or restart")


async def _serve(
    on: OnBus,
    opening: Opening,
    stop: Stop,
    health: Health,
    scrapes: Scrapes,
    sides: Callable[[OnBus, Bus], list[Coroutine[Any, Any, None]]],
) -> None:
    """Open one bus, and run its sides until the process stops."""
    probe, name = BusProbe(), on.manifest.name
    health.require(f"bus {name}", probe.why_not)
    async with AsyncExitStack() as stack:
        exported = stack.enter_context(closing(Series()))
        exported.read(BUS_UP, lambda: probe.up, name)
        bus = await run_until_stop(_open_and_register(stack, on, opening), stop.event)
        if bus is not None:
            collect_less_often()
            keep_freed_memory()
            if bus.capabilities.limits_backlog:
                exported.read(LIMIT, lambda: on.manifest.spec.max_pending, name)
            numbers = Subscriptions(name, bus, exported)
            stack.callback(scrapes.before(numbers.refresh))
            reporter = Reporter(name, bus, holder(), entries=lambda: on.entries.value, subscriptions=on.worked)
            all_ = on.subscriptions
            helpers = presence.keep(bus, all_), probe.watch(bus, all_), numbers.keep(), reporter.keep()
            parts = [*sides(on, bus), *(run_until_stop(each, stop.event) for each in helpers)]
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


def keep_freed_memory() -> None:
    """Let the allocator keep up to 8 MiB of freed memory for the next commit.

    glibc keeps twice the size of the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD). Without a large
    one, each commit's memory was given back to the system and taken again, which was a tenth of a watcher's work. This
    block takes no memory itself, because nothing is written to it.
    """
    bytes(LARGE_BLOCK)


async def _open_and_register(stack: AsyncExitStack, on: OnBus, opening: Opening) -> Bus:
    """Open the bus and register all subscriptions. From then on, the bus keeps every event for each of them.

    A bus that is unavailable is retried until it answers. Raises every other KubecdcError.
    """

    async def open_once() -> Bus:
        async with AsyncExitStack() as attempt:
            bus = await attempt.enter_async_context(opened(on.manifest, opening))
            await bus.register(on.use.subscriptions)
            await stack.enter_async_context(attempt.pop_all())
        return bus

    bus = await until_available(on.manifest.name, open_once)
    log.info("bus", code="bus", name=on.manifest.name, at=on.manifest.spec.queue_type.place(on.manifest.spec.queue))
    on.opened(bus)
    return bus


def _watcher_side(
    on: OnBus,
    bus: Bus,
    cluster: Cluster,
    election: Election,
    stop: asyncio.Event,
    watched: int,
    recorder: Recorder | None,
) -> list[Coroutine[Any, Any, None]]:
    """``watched``: how many buses share the memory of this process."""
    from kubecdc.watcher import watcher

    manifest = on.manifest
    elector = election.elector(bus, manifest, cluster)
    watching = watcher.run(bus, on.entries, cluster, elector, buses=watched, name=manifest.name, recorder=recorder)
    return [
        run_until_stop(watching, stop),
        run_until_stop(backlog.watch(bus, on.subscriptions, manifest.spec.max_pending), stop),
    ]


async def _worker_side(
    on: OnBus,
    bus: Bus,
    opening: Opening,
    delivery: Delivery,
    cluster: SharedCluster,
    stop: asyncio.Event,
    recorder: Recorder | None,
) -> None:
    """Work while there is a trigger: one that has none asks the bus for nothing."""
    from kubecdc.workers import worker

    while True:
        await run_until_stop(on.triggers.until(bool), stop)
        await worker.run(
            bus,
            on.triggers,
            on.manifest.spec.redelivery,
            concurrency=delivery.concurrency,
            stop=stop,
            render=delivery.render,
            mounts=opening.mounts,
            cluster=cluster,
            addresses=delivery.addresses,
            recorder=recorder,
        )
        if stop.is_set() or on.triggers.value:  # the process ends, or the bus was closed
            return
