"""The worker on a real bus in a file, with real HTTP: order, faults, drains and dead letters."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Delivery, Publication, Subscription, SubscriptionSpec
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.workers.outcome import Outcome, Retry, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.plan import subscriptions
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.manifest import Sensor
from tests.harness.other_program import other_program
from tests.workers.peer import saying, serving
from tests.workers.support import FakeTrigger, event, http_trigger, into, log_trigger, route, sensor, settings, until
from tests.workers.working import pending, redelivery, settled, working


@dataclass
class House:
    """A bus file that several workers may open, and a clock that can be put forward."""

    path: Path
    ahead: float = 0.0
    open: list[SqliteBus] = field(default_factory=list)

    async def bus(self, ack_wait: float = 30.0) -> SqliteBus:
        made = await open_bus(
            SqliteSettings(path=self.path, ack_wait=timedelta(seconds=ack_wait)),
            holder=f"w{len(self.open)}",
            clock=lambda: time.time() + self.ahead,
            rng=random.Random(1),
        )
        self.open.append(made)
        return made


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path / "bus.db")
    yield made
    for bus in made.open:
        await bus.close()


async def filled(house: House, made: Sensor, *events: Event) -> SqliteBus:
    bus = await house.bus()
    await bus.register(subscriptions([made]))
    await bus.publisher.publish(Publication(events))
    return bus


SLOWER = {"duration": "200ms", "cap": "200ms"}  # time for another event between two attempts


def test_each_trigger_has_its_subscription() -> None:
    made = sensor({"template": {"name": "a", "log": {}}}, {"template": {"name": "b", "log": {}}})
    assert [(s.name, s.source, s.subject) for s in subscriptions([made])] == [
        ("s/a", "workflows", "changed"),
        ("s/b", "workflows", "changed"),
    ]


async def test_every_trigger_gets_every_event(house: House) -> None:
    lines: list[Mapping[str, object]] = []

    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    async with serving(answer) as peer:
        made = sensor(log_trigger(), {"template": {"name": "h", "http": {"url": peer.url}}}, loggingFields={"a": "b"})
        bus = await filled(house, made, *(event(n, key=str(n % 7)) for n in range(50)))
        async with working(bus, made, render=into(lines)):
            await settled(bus)
    assert len(lines) == len(peer.received) == 50
    assert {line["a"] for line in lines} == {"b"}
    assert await bus.dead_letters.page() == []


async def test_order_per_object_holds_over_workers_concurrency_and_failures(house: House) -> None:
    rng = random.Random(7)
    got: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()

    async def flaky(request: web.Request) -> web.Response:
        key, number = request.headers["ce-partitionkey"], int(request.headers["ce-sequence"])
        assert key not in running, "two of one object at a time"
        running.add(key)
        await asyncio.sleep(rng.random() * 0.003)
        running.discard(key)
        if rng.random() < 0.3:
            return web.Response(status=503)
        got[key].append(number)
        return web.Response()

    async with serving(flaky) as peer:
        made = sensor(http_trigger(peer.url))
        bus = await filled(house, made, *(event(n, key=str(n % 20)) for n in range(400)))
        other = await house.bus()
        async with working(bus, made, concurrency=8), working(other, made, concurrency=8):
            await settled(bus)
    assert sum(len(numbers) for numbers in got.values()) == 400
    for numbers in got.values():
        assert numbers == sorted(set(numbers))


async def test_stops_use_up_no_attempts(house: House) -> None:
    arrived = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        if not arrived.is_set():
            arrived.set()
            await asyncio.sleep(60)
        return web.Response()

    async with serving(hang) as peer:
        made = sensor(http_trigger(peer.url))
        bus = await filled(house, made, event(1))
        once = redelivery(maxDeliveries=1)
        async with working(bus, made, rules=once), asyncio.timeout(60):
            await arrived.wait()
        assert await pending(bus) == 1
        async with working(bus, made, rules=once):
            await settled(bus)
    assert len(peer.received) == 2
    assert await bus.dead_letters.page() == []


async def test_after_a_dead_letter_the_next_event_of_the_object_proceeds(house: House) -> None:
    attempts: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.headers["ce-partitionkey"] == "other":
            return web.Response()
        attempts.append(request.headers["ce-sequence"].lstrip("0"))
        if attempts[-1] == "1":  # meanwhile the receiver works for others
            await bus.publisher.publish(Publication([event(10 + len(attempts), key="other")]))
        return web.Response(status=503 if attempts[-1] == "1" else 200)

    async with serving(answer) as peer:
        made = sensor(http_trigger(peer.url))
        bus = await filled(house, made, event(1), event(2))
        async with working(bus, made, rules=redelivery(maxDeliveries=3, backoff=SLOWER)):
            await settled(bus)
    assert attempts == ["1", "1", "1", "2"]
    [dead] = await bus.dead_letters.page()
    assert dead.attempts == 3
    assert dead.reason.startswith("gave up after 3 attempts: POST http")


async def test_an_outage_makes_no_dead_letter_and_a_poison_among_its_events_becomes_one(house: House) -> None:
    down = True
    attempts: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        key = request.headers["ce-partitionkey"]
        attempts[key] += 1
        return web.Response(status=503 if down or key == "poison" else 200)

    async with serving(answer) as peer:
        made = sensor(http_trigger(peer.url))
        keys = ["poison", *map(str, range(20))]
        bus = await filled(house, made, *(event(n, key=key) for n, key in enumerate(keys)))
        other = await house.bus()
        rules = redelivery(maxDeliveries=2)
        async with working(bus, made, rules=rules), working(other, made, rules=rules):
            await until(lambda: sum(attempts.values()) >= 10 * len(keys))
            assert await bus.dead_letters.page() == []
            down, number = False, 1000
            async with asyncio.timeout(60):
                while await pending(bus):  # what others have done since tells the poison from an outage
                    await bus.publisher.publish(Publication([event(number, key=str(number % 20))]))
                    number += 1
                    await asyncio.sleep(0.02)
    [dead] = await bus.dead_letters.page()
    assert dead.partitionkey == "poison"
    assert dead.attempts == attempts["poison"]
    assert "of them while it failed for all events: POST http" in dead.reason


async def test_what_a_crashed_worker_had_is_delivered_again(house: House) -> None:
    made = sensor(log_trigger())
    bus = await filled(house, made, event(1))
    crashed = await anext(aiter(bus.subscription("s/t", prefetch=1).deliveries()))
    await crashed.start()
    house.ahead = 31
    lines: list[Mapping[str, object]] = []
    other = await house.bus()
    async with working(other, made, render=into(lines)):
        await settled(other)
    assert len(lines) == 1


async def test_an_event_that_crashes_every_worker_ends_as_a_dead_letter(house: House) -> None:
    made = sensor(log_trigger())
    bus = await filled(house, made, event(1), event(2))
    for _ in range(3):  # the first crash does not count: it may have been the machine
        crashed = await anext(aiter(bus.subscription("s/t", prefetch=1).deliveries()))
        await crashed.start()
        house.ahead += 31
    lines: list[Mapping[str, object]] = []
    other = await house.bus()
    async with working(other, made, render=into(lines), rules=redelivery(maxDeliveries=2)):
        await settled(other)
    [dead] = await other.dead_letters.page()
    assert (dead.attempts, dead.event) == (2, event(1).id)
    assert [line["eventContext"]["id"] for line in lines] == [event(2).id]  # type: ignore[index]


async def test_a_dlq_trigger_announces_what_the_bus_keeps_also_if_a_worker_died_with_it(house: House) -> None:
    lines: list[Mapping[str, object]] = []
    async with serving(saying(400)) as peer:
        made = sensor(http_trigger(peer.url, dlqTrigger={"template": {"name": "dlq", "log": {}}}))
        bus = await filled(house, made, event(1), event(2, key="b"))
        died = await anext(aiter(bus.subscription("s/t", prefetch=1).deliveries()))
        await died.start()  # and it died in the dlqTrigger: the bus knows of nothing
        house.ahead += 31
        other = await house.bus()
        async with working(other, made, render=into(lines), rules=redelivery(maxDeliveries=2)):
            await settled(other)
    dead = {letter.event: letter for letter in await other.dead_letters.page()}
    assert set(dead) == {event(1).id, event(2, key="b").id}
    assert all("400" in letter.reason for letter in dead.values())
    contexts: list[Any] = [line["eventContext"] for line in lines]
    assert {context["id"]: context["error"] for context in contexts} == {id_: dead[id_].reason for id_ in dead}
    assert all(line["trigger"] == "dlq" for line in lines)


@dataclass
class LostReplies:
    """A subscription whose settlements are done, and then reported as failed, once each."""

    inner: Subscription
    calls: list[str] = field(default_factory=list)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in self.inner.deliveries():
            for name in ("ack", "nack", "dead_letter"):
                setattr(delivery, name, self._once_lost(name, getattr(delivery, name)))
            yield delivery

    async def successes(self) -> int:
        return await self.inner.successes()

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return await self.inner.registered()

    def _once_lost(self, name: str, done: Any) -> Any:
        lost = False

        async def call(*args: Any) -> None:
            nonlocal lost
            await done(*args)
            self.calls.append(name)
            if not lost:
                lost = True
                raise Unavailable("the reply was lost")

        return call


async def test_a_settlement_whose_reply_was_lost_is_not_another_run(house: House) -> None:
    made = sensor(log_trigger())
    bus = await filled(house, made, event(1), event(2), event(3))
    outcomes: list[Outcome] = [Success(), Retry("503"), Success(), Success()]

    async def behaviour(request: TriggerRequest[Any]) -> Outcome:
        return outcomes.pop(0)

    trigger, stop = FakeTrigger(behaviour), asyncio.Event()
    subscription = LostReplies(bus.subscription("s/t", prefetch=4))
    rules = settings(backoff=redelivery().backoff.schedule())
    task = asyncio.create_task(consume(subscription, route(trigger), rules, stop=stop))
    await settled(bus)
    stop.set()
    await task
    assert [r.event.id for r in trigger.requests] == [event(n).id for n in (1, 2, 2, 3)]
    assert (subscription.calls.count("ack"), subscription.calls.count("nack")) == (6, 2)


async def test_at_a_stop_everything_is_acked_or_at_once_there_for_the_next_worker(house: House) -> None:
    hanging: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        number = int(request.headers["ce-sequence"])
        if number % 2:
            hanging.add(request.headers["ce-sequence"])
            await asyncio.Event().wait()
        return web.Response()

    async with serving(answer) as peer:
        made = sensor(http_trigger(peer.url))
        bus = await filled(house, made, *(event(n, key=str(n)) for n in range(40)))
        begun = 0.0
        async with working(bus, made, concurrency=30):
            await until(lambda: len(hanging) == 20)
            begun = time.monotonic()
        assert time.monotonic() - begun < 15
    assert await pending(bus) == 20
    lines: list[Mapping[str, object]] = []
    other = await house.bus()
    logs = sensor(log_trigger())
    begun = time.monotonic()
    async with working(other, logs, render=into(lines)):
        await settled(other)
    assert len(lines) == 20
    assert time.monotonic() - begun < 20, "the claims are of 30 s"


async def test_a_lost_claim_gives_its_place_to_the_next_delivery(house: House) -> None:
    made = sensor(log_trigger())
    await filled(house, made, event(1, key="a"), event(2, key="b"))
    bus = await house.bus(ack_wait=0.6)
    hold = asyncio.Event()

    async def behaviour(request: TriggerRequest[Any]) -> Outcome:
        if request.event.partitionkey == "a":
            await hold.wait()
        return Success()

    trigger, stop = FakeTrigger(behaviour), asyncio.Event()
    rules = settings(ack_wait=bus.ack_wait, concurrency=1)
    subscription = bus.subscription("s/t", prefetch=1)
    task = asyncio.create_task(consume(subscription, route(trigger), rules, stop=stop))
    await until(lambda: len(trigger.requests) == 1)
    with other_program(house.path) as db:  # somebody else has it
        db.execute("UPDATE deliveries SET token = 'thief', due = due + 3600 WHERE token IS NOT NULL")
    await until(lambda: len(trigger.finished) == 1)
    assert trigger.finished[0].event.partitionkey == "b"
    stop.set()
    await task
    assert await pending(bus) == 1


async def test_a_long_run_keeps_its_claim(house: House) -> None:
    made = sensor(log_trigger())
    await filled(house, made, event(1))
    bus = await house.bus(ack_wait=0.3)
    release = asyncio.Event()

    async def behaviour(request: TriggerRequest[Any]) -> Outcome:
        await release.wait()
        return Success()

    triggers, stop = [FakeTrigger(behaviour), FakeTrigger(behaviour)], asyncio.Event()
    rules = settings(ack_wait=bus.ack_wait)
    tasks = [
        asyncio.create_task(consume(bus.subscription("s/t", prefetch=4), route(t), rules, stop=stop)) for t in triggers
    ]
    await until(lambda: any(t.requests for t in triggers))
    await asyncio.sleep(1.0)  # several claims long
    release.set()
    await settled(bus)
    stop.set()
    await asyncio.gather(*tasks)
    assert sum(len(t.requests) for t in triggers) == 1
