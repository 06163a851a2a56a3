"""The worker: all triggers of the Sensors on one bus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.manifest import Redelivery
from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route, routes
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.settings import Settings
from kubecdc.workers.triggers.contract import Render, json_line


def subscriptions(sensors: Iterable[Sensor]) -> list[SubscriptionSpec]:
    """The subscriptions of the Sensors: ``<sensor>/<trigger>`` for each trigger."""
    return [
        SubscriptionSpec(
            sensor.subscription(trigger), sensor.dependency.event_source_name, sensor.dependency.event_name
        )
        for sensor in sensors
        for trigger in sensor.spec.triggers
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
) -> None:
    """Deliver to every trigger until ``stop`` is set, then drain: all deliveries in flight are settled or returned.

    The subscriptions must be registered. ``render`` makes lines for standard output. An error of one consumer that is
    neither an outage nor a failed trigger drains the others and is raised.
    """
    settings = Settings.of(redelivery, ack_wait=bus.ack_wait, concurrency=concurrency)
    async with asyncio.TaskGroup() as consumers:
        for sensor in sensors:
            for route in routes(sensor, concurrency=concurrency, render=render, mounts=mounts or Mounts()):
                consumers.create_task(_work(bus, route, settings, stop))


async def _work(bus: Bus, route: Route, settings: Settings, stop: asyncio.Event) -> None:
    try:
        subscription = bus.subscription(route.subscription, prefetch=settings.concurrency)
        await consume(subscription, route, settings, stop=stop)
    finally:
        await route.trigger.close()
