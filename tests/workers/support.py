"""A bus in memory for the worker's tests, and short ways to manifests and events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from kubecdc.backoff import Backoff
from kubecdc.storage.contracts import NO_FAILURES, Failures, SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.outcome import Outcome, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.route import Route
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.settings import Settings
from kubecdc.workers.triggers.contract import Render

DATA = {
    "type": "ADD",
    "body": {"metadata": {"name": "w1", "labels": {"a.b": "c"}}, "n": 100, "none": None, "list": [1, "x"], "yes": True},
}


def event(number: int = 1, *, key: str = "k", source: str = "workflows", data: object = DATA, **more: Any) -> Event:
    return Event(
        specversion="1.0",
        id=f"changed.uid-{key}.{number}.ADD",
        source=source,
        subject="changed",
        type="resource",
        time="2026-01-01T00:00:00.000000Z",
        datacontenttype="application/json",
        partitionkey=key,
        sequence=f"{number:020}",
        epoch=1,
        data=msgspec.Raw(msgspec.json.encode(data)),
        **more,
    )


def into(records: list[Mapping[str, object]]) -> Render:
    """For a log trigger whose lines are wanted as values, and written nowhere."""

    def render(record: Mapping[str, object]) -> bytes:
        records.append(record)
        return b""

    return render


def sensor(*triggers: Mapping[str, Any], **spec: Any) -> Sensor:
    return Sensor.model_validate(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Sensor",
            "metadata": {"name": "s"},
            "spec": {
                "dependencies": [{"name": "dep", "eventSourceName": "workflows", "eventName": "changed"}],
                "triggers": list(triggers),
                **spec,
            },
        }
    )


def log_trigger(**more: Any) -> dict[str, Any]:
    return {"template": {"name": "t", "log": {}}, **more}


def http_trigger(url: str, http: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"template": {"name": "t", "http": {"url": url, **(http or {})}}, **more}


def route(trigger: Any, manifest: Mapping[str, Any] | None = None) -> Route:
    made = sensor(manifest or log_trigger())
    return Route(made, made.spec.triggers[0], trigger)


def settings(**given: Any) -> Settings:
    return Settings(
        **{"ack_wait": timedelta(seconds=30), "backoff": Backoff(jitter=0), "grace": 0.05, "settle": 0.2, **given}
    )


Behaviour = Callable[[TriggerRequest[Any]], Awaitable[Outcome]]


@dataclass
class FakeTrigger:
    """Does what it is told, and remembers what it was asked."""

    behaviour: Behaviour | None = None
    requests: list[TriggerRequest[Any]] = field(default_factory=list)
    finished: list[TriggerRequest[Any]] = field(default_factory=list)
    closed: bool = False

    def prepare(self, request: TriggerRequest[Any]) -> TriggerRequest[Any]:
        return request

    async def execute(self, request: TriggerRequest[Any]) -> Outcome:
        self.requests.append(request)
        outcome = await self.behaviour(request) if self.behaviour else Success()
        self.finished.append(request)
        return outcome

    def preview(self, request: TriggerRequest[Any]) -> Mapping[str, object]:
        return {"event": request.event.id}

    async def close(self) -> None:
        self.closed = True


@dataclass
class MemoryDelivery:
    """A delivery that writes down what became of it. ``faults`` are raised, one a call, before anything else."""

    body: bytes
    attempt: int = 1
    failures: Failures = NO_FAILURES
    kept: Failures | None = None
    calls: list[str] = field(default_factory=list)
    faults: dict[str, deque[Exception]] = field(default_factory=dict)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    delay: float | None = None
    reason: str = ""
    extended: int = 0

    @property
    def event(self) -> Event:
        return Event.decode(self.body)

    @property
    def last(self) -> str:
        return self.calls[-1]

    def _call(self, name: str) -> None:
        if self.faults.get(name):
            raise self.faults[name].popleft()
        if self.settled.is_set():
            raise ClaimLost("settled already")
        self.calls.append(name)

    async def start(self) -> None:
        self._call("start")

    def withdraw(self) -> None:
        self._call("withdraw")

    async def ack(self) -> None:
        self._call("ack")
        self.settled.set()

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        self._call("nack")
        self.kept = failures
        self.delay = delay.total_seconds()
        self.settled.set()

    async def extend(self) -> None:
        if self.faults.get("extend"):
            raise self.faults["extend"].popleft()
        self.extended += 1

    async def dead_letter(self, reason: str) -> None:
        self._call("dead_letter")
        self.reason = reason
        self.settled.set()


@dataclass
class MemorySubscription:
    """Hands out what `give` puts in."""

    queue: asyncio.Queue[MemoryDelivery | Exception] = field(default_factory=asyncio.Queue)
    succeeded: int = 0
    spec: SubscriptionSpec | None = field(default_factory=lambda: SubscriptionSpec("s/t", "workflows", "changed"))

    def give(
        self,
        event_or_body: Event | bytes,
        *,
        attempt: int = 1,
        failures: Failures = NO_FAILURES,
        faults: Mapping[str, Sequence[Exception]] = MappingProxyType({}),
    ) -> MemoryDelivery:
        body = event_or_body.encode() if isinstance(event_or_body, Event) else event_or_body
        delivery = MemoryDelivery(
            body, attempt, failures, faults={name: deque(given) for name, given in faults.items()}
        )
        self.queue.put_nowait(delivery)
        return delivery

    async def settled(self, *events: Event) -> list[MemoryDelivery]:
        """Give the events, and wait until all are settled."""
        given = [self.give(event) for event in events]
        async with asyncio.timeout(60):
            for delivery in given:
                await delivery.settled.wait()
        return given

    async def deliveries(self) -> AsyncIterator[MemoryDelivery]:
        while True:
            item = await self.queue.get()
            if isinstance(item, Exception):
                raise item
            yield item

    async def successes(self) -> int:
        return self.succeeded

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return (self.spec,) if self.spec else ()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that something else brings about."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)
