"""The worker: all triggers of the Sensors on one bus. The manifests may have others later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from kubecdc import facts, metrics
from kubecdc.cluster.shared import SharedCluster
from kubecdc.current import Current
from kubecdc.manifest.mounts import Mounts
from kubecdc.metrics import Series
from kubecdc.storage.contracts import Bus
from kubecdc.storage.redelivery import Redelivery
from kubecdc.workers import locked
from kubecdc.workers.addresses import EVERYWHERE, Addresses
from kubecdc.workers.breaker import Breaker
from kubecdc.workers.joining import share
from kubecdc.workers.metrics import KEY_MISSING, PAUSED
from kubecdc.workers.pauses import Pauses
from kubecdc.workers.pipeline import breaker_of, consume
from kubecdc.workers.plan import Plan, Planned
from kubecdc.workers.route import Route, close, routes_of
from kubecdc.workers.settings import Settings
from kubecdc.workers.triggers.contract import Render, json_line

if TYPE_CHECKING:
    from kubecdc.cluster.recorder import Recorder

log = structlog.get_logger()


async def run(
    bus: Bus,
    plan: Current[Plan],
    redelivery: Redelivery,
    *,
    concurrency: int = 64,
    stop: asyncio.Event,
    render: Render = json_line,
    mounts: Mounts | None = None,
    cluster: SharedCluster | None = None,
    addresses: Addresses = EVERYWHERE,
    recorder: Recorder | None = None,
) -> None:
    """Deliver to every trigger until ``stop`` is set, then drain: all deliveries in flight are settled or returned.

    The plan may be replaced meanwhile: a trigger that is the same in it is not touched, another one drains before its
    next version begins. Returns also when no trigger is left.

    What is paused, in the manifest or in the bus, is not delivered. The subscriptions must be registered. ``render``
    makes lines for standard output, ``recorder`` Kubernetes Events. ``addresses`` are where triggers may connect to.
    The caller closes the ``cluster``. An error of one consumer that is neither an outage nor a failed trigger drains
    the others and is raised.
    """
    settings = Settings.of(redelivery, ack_wait=bus.ack_wait, concurrency=concurrency)
    given = {"concurrency": concurrency, "render": render, "mounts": mounts or Mounts(), "cluster": cluster}
    given |= {"addresses": addresses}
    work = _Work(bus, settings, Pauses(bus), stop, given, recorder)
    async with settings.scripts, asyncio.TaskGroup() as group:
        watching = group.create_task(work.pauses.watch())
        await work.follow(plan, group)
        watching.cancel()


@dataclass
class _UnderWay:
    """The work on a trigger. ``end`` is set when it is to end."""

    planned: Planned
    end: asyncio.Event
    task: asyncio.Task[None]


@dataclass(frozen=True)
class _Work:
    """What all triggers share. Routes are made with ``given``."""

    bus: Bus
    settings: Settings
    pauses: Pauses
    stop: asyncio.Event
    given: Mapping[str, Any]
    recorder: Recorder | None

    async def follow(self, plan: Current[Plan], group: asyncio.TaskGroup) -> None:
        """Begin and end the work on triggers as the plan says, until nothing is left to do."""
        under_way: dict[str, _UnderWay] = {}
        closed = False
        while True:
            planned: Plan = {} if closed or self.stop.is_set() else plan.value
            for name, each in under_way.items():
                if planned.get(name) != each.planned:
                    each.end.set()
            for name in planned.keys() - under_way.keys():
                end = asyncio.Event()
                under_way[name] = _UnderWay(planned[name], end, group.create_task(self._of(planned[name], end)))
            if not under_way:
                return
            await self._change(plan, planned, {each.task for each in under_way.values()})
            for name in [name for name, each in under_way.items() if each.task.done()]:
                ended = under_way.pop(name)
                closed = closed or not ended.end.is_set()  # the bus was, if nobody has ended it
                _forget(ended.planned, plan.value.get(name))

    async def _change(self, plan: Current[Plan], planned: Plan, tasks: set[asyncio.Task[None]]) -> None:
        """Wait until one of the tasks has ended, or others may have to."""
        news = {asyncio.create_task(self.stop.wait()), asyncio.create_task(plan.after(planned))} if planned else set()
        try:
            await asyncio.wait({*tasks, *news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in news:
                task.cancel()

    async def _of(self, planned: Planned, end: asyncio.Event) -> None:
        """Deliver to one trigger until ``end`` is set."""
        made = [*routes_of(planned.sensor, planned.trigger, **self.given)]
        share(self.bus, made)
        breaker = breaker_of(made[0], self.settings, partial(_record, self.recorder, made[0]))
        try:
            with closing(Series()) as exported, ExitStack() as told:
                for route in made:
                    self.pauses.add(route.subscription)
                    exported.read(PAUSED, partial(_paused, route, self.pauses), route.subscription)
                    exported.read(KEY_MISSING, partial(_key_missing, route), route.subscription)
                    told.callback(facts.triggers.read(route.subscription, partial(_facts, route, breaker)))
                async with asyncio.TaskGroup() as consumers:
                    for route in made:
                        consumers.create_task(self._consume(route, breaker, end))
        finally:
            for route in made:
                self.pauses.remove(route.subscription)
            await close(made)

    async def _consume(self, route: Route, breaker: Breaker, end: asyncio.Event) -> None:
        if route.paused:
            log.info("paused", code="paused", subscription=route.subscription, hint="its trigger has `paused: true`")
            await end.wait()
        while await self.pauses.resumed(route.subscription, end):
            halt = asyncio.Event()
            halting = asyncio.create_task(self.pauses.halt(route.subscription, halt, end))
            try:
                subscription = self.bus.subscription(route.subscription, prefetch=self.settings.concurrency)
                hurry = lambda: self.stop if end.is_set() else None  # noqa: E731
                await consume(subscription, route, self.settings, stop=halt, breaker=breaker, hurry=hurry)
            finally:
                halting.cancel()
            if not halt.is_set():
                return  # the bus was closed


def _forget(ended: Planned, now: Planned | None) -> None:
    """End what any part has counted of the subscriptions that a trigger has no more. A change of it resets nothing."""
    for subscription in set(ended.subscriptions).difference(now.subscriptions if now else ()):
        metrics.forget("subscription", subscription)


def _record(recorder: Recorder | None, route: Route, reason: str) -> None:
    """Tell that the breaker of the trigger has opened."""
    if recorder:
        text = f"the trigger {route.sensor}/{route.name} fails for all objects, its events wait: {reason}"
        recorder.record("BreakerOpened", text, kind="Sensor", name=route.sensor)


def _paused(route: Route, pauses: Pauses) -> bool | None:
    """Whether nothing of it is delivered, None if that is not known yet."""
    return True if route.paused else pauses.paused(route.subscription)


def _key_missing(route: Route) -> bool:
    return locked.trouble(route, time.time) is not None


def _facts(route: Route, breaker: Breaker) -> facts.Trigger:
    return facts.Trigger(
        route.metrics.done,
        breaker.failed,
        breaker.trouble,
        paused=route.paused,
        locked=locked.trouble(route, time.time),
    )
