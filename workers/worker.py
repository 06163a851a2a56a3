"""The worker: all triggers of the Sensors on one bus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.manifest import Redelivery
from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.settings import Settings
from kubecdc.workers.triggers.log.lines import Render
from kubecdc.workers.triggers.log.trigger import json_line
from kubecdc.workers.triggers.registry import Context, build


def subscriptions(sensors: Iterable[Sensor]) -> list[SubscriptionSpec]:
    """What the bus owes the Sensors: a subscription ``<sensor>/<trigger>`` for each trigger."""
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
    log_event: Render = json_line,
    mounts: Mounts | None = None,
) -> None:
    """Deliver to every trigger until ``stop`` is set, then drain: all that was in flight is acked or returned.

    The subscriptions are registered. An error of one consumer that is neither an outage nor a failed trigger drains
    the others and is raised.
    """
    settings = Settings(
        ack_wait=bus.ack_wait,
        max_deliveries=redelivery.max_deliveries,
        backoff=redelivery.backoff.schedule(),
        concurrency=concurrency,
    )
    async with asyncio.TaskGroup() as consumers:
        for sensor in sensors:
            fields = sensor.spec.logging_fields
            context = Context(sensor.name, concurrency, fields, log_event, mounts or Mounts())
            for manifest in sensor.spec.triggers:
                route = Route(sensor, manifest, build(manifest, context))
                consumers.create_task(_work(bus, sensor.subscription(manifest), route, settings, stop))


async def _work(bus: Bus, name: str, route: Route, settings: Settings, stop: asyncio.Event) -> None:
    try:
        await consume(bus.subscription(name, prefetch=settings.concurrency), route, settings, stop=stop)
    finally:
        await route.trigger.close()
