"""The worker: all triggers of the Sensors on one bus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import structlog

from kubecdc import facts
from kubecdc.cluster.shared import SharedCluster
from kubecdc.manifest.mounts import Mounts
from kubecdc.metrics import Series
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.manifest import Redelivery
from kubecdc.workers.breaker import Breaker
from kubecdc.workers.joining import share
from kubecdc.workers.metrics import PAUSED
from kubecdc.workers.pauses import Pauses
from kubecdc.workers.pipeline import breaker_of, consume
from kubecdc.workers.route import Route, close, routes
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.settings import Settings
from kubecdc.workers.triggers.contract import Render, json_line

if TYPE_CHECKING:
    from kubecdc.cluster.recorder import Recorder

log = structlog.get_logger()


def subscriptions(sensors: Iterable[Sensor]) -> list[SubscriptionSpec]:
    """The subscriptions of the Sensors, one for each dependency of each trigger."""
    return [
        SubscriptionSpec(name, dependency.event_source_name, dependency.event_name)
        for sensor in sensors
        for name, _, dependency in sensor.subscriptions()
    ]


async def run(
    bus: Bus,
    sensors: Iterable[Sensor],
    redelivery: Redelivery,
    *,
    concurrency: int = 64,
    stop: asyncio.Event,
    render: Render = json_line,
    mounts: Mounts | None = None,
    cluster: SharedCluster | None = None,
    recorder: Recorder | None = None,
) -> None:
    """Deliver to every trigger until ``stop`` is set, then drain: all deliveries in flight are settled or returned.

    What is paused, in the manifest or in the bus, is not delivered. The subscriptions must be registered. ``render``
    makes lines for standard output, ``recorder`` Kubernetes Events. The caller closes the ``cluster``. An error of one
    consumer that is neither an outage nor a failed trigger drains the others and is raised.
    """
    settings = Settings.of(redelivery, ack_wait=bus.ack_wait, concurrency=concurrency)
    given = {"concurrency": concurrency, "render": render, "mounts": mounts or Mounts(), "cluster": cluster}
    made = [route for sensor in sensors for route in routes(sensor, **given)]
    share(bus, made)
    breakers = {id(route.trigger): breaker_of(route, settings, partial(_record, recorder, route)) for route in made}
    pauses = Pauses(bus, {route.subscription for route in made}, stop)
    exported, told = Series(), ExitStack()
    for route in made:
        exported.read(PAUSED, partial(_paused, route, pauses), route.subscription)
        told.callback(facts.triggers.read(route.subscription, partial(_facts, route, breakers[id(route.trigger)])))
    try:
        async with settings.scripts, asyncio.TaskGroup() as group:
            watching = group.create_task(pauses.watch())
            works = (_work(bus, route, settings, pauses, stop, breakers[id(route.trigger)]) for route in made)
            consumers = [group.create_task(work) for work in works]
            if consumers:
                await asyncio.wait(consumers)
            watching.cancel()
    finally:
        exported.close()
        told.close()
        await close(made)


def _record(recorder: Recorder | None, route: Route, reason: str) -> None:
    """Tell that the breaker of the trigger has opened."""
    if recorder:
        text = f"the trigger {route.sensor}/{route.name} fails for all objects, its events wait: {reason}"
        recorder.record("BreakerOpened", text, kind="Sensor", name=route.sensor)


def _paused(route: Route, pauses: Pauses) -> bool | None:
    """Whether nothing of it is delivered, None if that is not known yet."""
    return True if route.paused else pauses.paused(route.subscription)


def _facts(route: Route, breaker: Breaker) -> facts.Trigger:
    return facts.Trigger(route.metrics.done, breaker.failed, breaker.trouble, paused=route.paused)


async def _work(
    bus: Bus, route: Route, settings: Settings, pauses: Pauses, stop: asyncio.Event, breaker: Breaker
) -> None:
    if route.paused:
        log.info("paused", code="paused", subscription=route.subscription, hint="its trigger has `paused: true`")
        await stop.wait()
    while await pauses.resumed(route.subscription):
        halt = asyncio.Event()
        halting = asyncio.create_task(pauses.halt(route.subscription, halt))
        try:
            subscription = bus.subscription(route.subscription, prefetch=settings.concurrency)
            await consume(subscription, route, settings, stop=halt, breaker=breaker)
        finally:
            halting.cancel()
        if not halt.is_set():
            return  # the bus was closed
