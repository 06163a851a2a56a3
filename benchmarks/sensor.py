"""What the filters and parameters of a Sensor cost: ``python -m benchmarks.sensor EVENTS``.

One process takes events out of its memory through the workers' path, with triggers that prepare a request and send
nothing: an ``http`` trigger with a data filter and a payload of five parameters, and one without.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec
import uvloop

from benchmarks import setup
from benchmarks.bus import SPEC, event
from benchmarks.stage import staged
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts import NO_FAILURES, SubscriptionSpec
from kubecdc.storage.contracts.event import Event
from kubecdc.workers import pipeline
from kubecdc.workers.outcome import Outcome, Success
from kubecdc.workers.route import Route, routes
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.settings import Settings
from kubecdc.workers.triggers.contract import json_line

ROUNDS = 5  # of both sides, one after the other; the median counts
PARAMETERS = {
    "name": "body.metadata.name",
    "namespace": "body.metadata.namespace",
    "team": "body.metadata.labels.team",
    "phase": "body.status.phase",
    "progress": "body.status.progress",
}


async def filters(events: int) -> tuple[float, float]:
    """Microseconds of CPU for each event: of filter and payload, and of the same written by hand."""
    with staged(redis=False) as stage:
        argv = [sys.executable, "-m", "benchmarks.sensor", str(events)]
        found = await stage.programs.start("sensor", argv, piped=True).decoded()
    return found["ours"], found["bare"]


def sensor(dependency: dict[str, Any], trigger: dict[str, Any]) -> Sensor:
    """One trigger for every change of the kind."""
    named = {"name": "change", "eventSourceName": SPEC.source, "eventName": SPEC.subject, **dependency}
    spec = {"dependencies": [named], "triggers": [{"template": {"name": "act", **trigger}}]}
    manifest = {"apiVersion": "kubecdc.io/v1alpha1", "kind": "Sensor", "metadata": {"name": "bench"}, "spec": spec}
    return Sensor.model_validate(manifest)


def route(made: Sensor, **given: Any) -> Route:
    """That of the only trigger."""
    (found,) = routes(made, concurrency=Settings.concurrency, render=json_line, mounts=Mounts(), **given)
    return found


@dataclass
class Handed:
    """A delivery that nobody has to be told about."""

    event: Event
    acked: Callable[[], None]
    attempt: int = 1
    failures = NO_FAILURES

    @property
    def body(self) -> bytes:
        return self.event.encode()

    async def start(self) -> None: ...

    def withdraw(self) -> None: ...

    async def extend(self) -> None: ...

    async def ack(self) -> None:
        self.acked()

    async def nack(self, delay: object, failures: object = None) -> None:
        raise AssertionError("a trigger that sends nothing cannot fail")

    async def dead_letter(self, reason: str) -> None:
        raise AssertionError(reason)


@dataclass
class FromMemory:
    """A subscription with these events, which hands out as many at a time as a worker asks for."""

    events: Sequence[Event]

    async def deliveries(self) -> AsyncIterator[Handed]:
        room = asyncio.Semaphore(Settings.concurrency)
        for each in self.events:
            await room.acquire()
            yield Handed(each, room.release)
        for _ in range(Settings.concurrency):  # all are acked
            await room.acquire()

    async def successes(self) -> int:
        return 0

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return (SPEC,)


async def _cost(made: Sensor, events: Sequence[Event]) -> float:
    """Microseconds of CPU for each event."""
    found = route(made)

    async def nothing(request: object) -> Outcome:
        return Success()

    found.trigger.execute = nothing  # type: ignore[method-assign]
    begun = time.process_time()
    await pipeline.consume(FromMemory(events), found, Settings(), stop=asyncio.Event())
    return (time.process_time() - begun) / len(events) * 1e6


def _by_hand(events: Sequence[Event]) -> float:
    begun = time.process_time()
    for each in events:
        body = msgspec.json.decode(each.data)["body"]
        metadata, status = body["metadata"], body["status"]
        if status["phase"] == "Running":
            payload = {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "team": metadata["labels"]["team"],
                "phase": status["phase"],
                "progress": status["progress"],
            }
            msgspec.json.encode(payload)
    return (time.process_time() - begun) / len(events) * 1e6


async def main(count: int) -> None:
    http = {"url": "http://127.0.0.1:9", "method": "POST"}
    payload = [
        {"src": {"dependencyName": "change", "dataKey": path}, "dest": dest} for dest, path in PARAMETERS.items()
    ]
    running = {"path": "body.status.phase", "type": "string", "value": ["Running"]}
    plain = sensor({}, {"http": http})
    full = sensor({"filters": {"data": [running]}}, {"http": {**http, "payload": payload}})
    events = [event(number, number) for number in range(count)]
    setup.begin()
    runs = [(await _cost(full, events) - await _cost(plain, events), _by_hand(events)) for _ in range(ROUNDS)]
    ours, bare = (median(side) for side in zip(*runs, strict=True))
    print(msgspec.json.encode({"ours": ours, "bare": bare}).decode())


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
