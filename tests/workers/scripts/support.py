"""Sensors with a transform, consumed from a subscription in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route
from kubecdc.workers.scripts.frames import Kind
from kubecdc.workers.scripts.program import Program
from kubecdc.workers.scripts.runner import Scripts
from tests.workers.support import FakeTrigger, MemorySubscription, log_trigger, sensor, settings

QUICK = {"jq": "{seen: .body.metadata.name}"}


@dataclass
class Consumer:
    subscription: MemorySubscription
    trigger: FakeTrigger

    @property
    def data(self) -> list[Any]:
        """What the trigger got."""
        return [msgspec.json.decode(request.event.data) for request in self.trigger.requests]


@asynccontextmanager
async def consuming(scripts: Scripts, transform: Mapping[str, Any], **dependency: Any) -> AsyncIterator[Consumer]:
    given = {"name": "dep", "eventSourceName": "workflows", "eventName": "changed", "transform": transform}
    made = sensor(log_trigger(), dependencies=[given | dependency])
    subscription, stop = MemorySubscription(), asyncio.Event()
    trigger: Any = FakeTrigger()
    rules = settings(scripts=scripts)
    task = asyncio.create_task(consume(subscription, Route(made, made.spec.triggers[0], trigger), rules, stop=stop))
    try:
        yield Consumer(subscription, trigger)
    finally:
        stop.set()
        await task


def program(kind: Kind, text: str) -> Program:
    return Program(kind, text)
