"""One process: the sides it runs, on the buses they use, until a signal says stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from kubecdc.backoff import Backoff
from kubecdc.cli import backlog
from kubecdc.cli.buses import owed, used
from kubecdc.cli.manifests.loading import Manifests
from kubecdc.errors import Unavailable, first
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.contracts.types import Opening
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.opening import opened
from kubecdc.workers.triggers.contract import Render

if TYPE_CHECKING:
    from kubecdc.cli.election import Election

log = structlog.get_logger()
RETRY = Backoff(duration=0.5, cap=10.0)
GARBAGE = 10_000  # objects more than were given back, after which the youngest are looked through; Python's own: 700
JSON_DEPTH = 12_000  # the API server reads JSON nested 10,000 deep (k8s.io/apimachinery); decoding recurses


@dataclass(frozen=True)
class Sides:
    """What the process does: watch, work or both."""

    watch: bool
    work: bool


async def run(
    manifests: Manifests,
    sides: Sides,
    opening: Opening,
    *,
    concurrency: int,
    log_event: Render,
    election: Election | None,
) -> None:
    """Run the sides; returns after SIGTERM or SIGINT, once all in flight is settled. Raises the first KubecdcError.

    Whoever watches gives an ``election``.
    """
    # One object of such depth, which Kubernetes takes, must not stand in the way of all others.
    sys.setrecursionlimit(JSON_DEPTH)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sources, sensors = list(manifests.sources.values()), list(manifests.sensors.values())
    names = [s.spec.event_bus_name for s in (sources if sides.watch else [])]
    names += [s.spec.event_bus_name for s in (sensors if sides.work else [])]
    async with AsyncExitStack() as stack:
        running: list[Coroutine[Any, Any, None]] = []
        cluster = await stack.enter_async_context(opening.cluster.connect()) if election else None
        for manifest in used(manifests, names):
            specs = owed(manifests, manifest)
            bus = await _joined(stack, manifest, specs, opening, stop)
            if bus is None:
                break
            mine = [s for s in sources if s.spec.event_bus_name == manifest.name]
            if election and cluster and mine:
                from kubecdc.watcher import watcher

                elector = election.elector(bus, manifest, cluster)
                running.append(_until(stop, watcher.run(bus, mine, cluster, elector)))
                named = {spec.name for spec in specs}
                running.append(_until(stop, backlog.watch(bus, named, manifest.spec.max_pending)))
            theirs = [s for s in sensors if s.spec.event_bus_name == manifest.name]
            if sides.work and theirs:
                from kubecdc.workers import worker

                running.append(
                    worker.run(
                        bus,
                        theirs,
                        manifest.spec.redelivery,
                        concurrency=concurrency,
                        stop=stop,
                        render=log_event,
                        mounts=opening.mounts,
                    )
                )
        # What was imported stays, and what is in flight is no garbage: looked at less, an event costs a fifth less.
        gc.freeze()
        gc.set_threshold(GARBAGE, 20, 20)
        await together(running, stop)
    log.info("stopped")


async def _joined(
    stack: AsyncExitStack,
    manifest: EventBus,
    specs: Sequence[SubscriptionSpec],
    opening: Opening,
    stop: asyncio.Event,
) -> Bus | None:
    """The bus, in which our subscriptions are registered: from here on each is owed everything.

    One that does not answer is waited for, as it would be later; None if we are told to stop meanwhile. Raises every
    other KubecdcError.
    """
    failures = 0
    while not stop.is_set():
        try:
            async with AsyncExitStack() as attempt:
                bus = await attempt.enter_async_context(opened(manifest, opening))
                await bus.register(specs)
                await stack.enter_async_context(attempt.pop_all())
            log.info("bus", name=manifest.name, at=manifest.spec.queue_type.place(manifest.spec.queue))
            return bus
        except Unavailable as e:
            failures += 1
            if failures == 1:
                log.warning("waiting for the bus", name=manifest.name, error=str(e), fix=e.hint)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY.delay(failures)):
                    await stop.wait()
    return None


async def together(sides: list[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run all until each has ended. The first that ends, well or not, stops the others, which then finish in order."""

    async def one(side: Coroutine[Any, Any, None]) -> None:
        try:
            await side
        finally:
            stop.set()

    results = await asyncio.gather(*(one(side) for side in sides), return_exceptions=True)
    failures = [r for r in results if isinstance(r, BaseException)]
    if failures:
        raise first(failures[0])


async def _until(stop: asyncio.Event, side: Coroutine[Any, Any, None]) -> None:
    """Run a side that knows no end; cancel it at the stop. What it was committing is either done or not."""
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
