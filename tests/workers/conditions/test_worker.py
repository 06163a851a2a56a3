"""Conditions through the worker: subscriptions, parameters of several events, deaths between completing and firing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kubecdc.current import Current
from kubecdc.storage.contracts import Bus, Replay
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from kubecdc.storage.testing.actors import Leader, known, until
from kubecdc.workers import worker
from kubecdc.workers.plan import plan_of, subscriptions
from kubecdc.workers.sensor.manifest import Sensor
from tests.storage.redis_server import RedisServer
from tests.workers.peer import Peer, saying, serving
from tests.workers.support import event, http_trigger, sensor

A = {"name": "a", "eventSourceName": "workflows", "eventName": "alpha"}
B = {"name": "b-1", "eventSourceName": "workflows", "eventName": "beta"}
PAYLOAD = [
    {"src": {"dependencyName": "a", "dataKey": "n", "useRawData": True}, "dest": "a"},
    {"src": {"dependencyName": "b-1", "dataKey": "n", "useRawData": True}, "dest": "b"},
    {"src": {"dependencyName": "b-1", "contextKey": "subject", "value": "none"}, "dest": "subject"},
]


def joined(url: str, conditions: str = "", dependencies: tuple[Mapping[str, Any], ...] = (A, B), **more: Any) -> Sensor:
    """A Sensor whose trigger needs both dependencies, and says in its request which events it had."""
    trigger = http_trigger(url, {"payload": PAYLOAD, "timeout": 10})
    template = {**trigger["template"], "conditions": conditions, **more}
    return sensor({"template": template}, dependencies=list(dependencies))


class Processes:
    """Any number of processes on one bus, which publish events and run Sensors."""

    def __init__(self, path: Path, server: RedisServer | None) -> None:
        self._path, self._server = path, server
        self._numbers, self._terms = count(1), count(1)

    @asynccontextmanager
    async def bus(self, ack_wait: float = 30.0) -> AsyncIterator[Bus]:
        bus: Bus
        wait = timedelta(seconds=ack_wait)
        if self._server:
            name = self._path.parent.name
            settings = RedisSettings(self._server.url, name=name, partitions=4, ack_wait=wait)
            bus = await open_redis(settings, holder="the test")
        else:
            bus = await open_sqlite(SqliteSettings(self._path, ack_wait=wait), holder="the test")
        try:
            yield bus
        finally:
            await bus.close()

    async def publish(self, bus: Bus, *subjects: str, key: str = "") -> list[int]:
        """Events with these names, each of another object. Returns their numbers, which are in their data."""
        numbers = [next(self._numbers) for _ in subjects]
        events = [_event(subject, number, key) for subject, number in zip(subjects, numbers, strict=True)]
        await (await Leader.take(bus, term=next(self._terms))).commit(*events)
        return numbers

    @asynccontextmanager
    async def running(self, bus: Bus, of: Sensor) -> AsyncIterator[asyncio.Task[None]]:
        """The Sensor runs during the block, then it drains."""
        await bus.register(subscriptions([of]))
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(bus, Current(plan_of([of])), Redelivery(), stop=stop))
        try:
            yield task
        finally:
            stop.set()
            await task


def _event(subject: str, number: int, key: str) -> Event:
    made = event(number, key=f"k{number}", data={"n": number, "key": key})
    return msgspec.structs.replace(made, subject=subject, id=f"{subject}.uid.{number}.ADD")


@pytest.fixture(params=["sqlite", "redis"])
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Processes:
    server = request.getfixturevalue("shared_redis") if request.param == "redis" else None
    return Processes(tmp_path / "bus.db", server)


def sets(peer: Peer) -> list[tuple[int | None, int | None]]:
    """The events of each request, in order."""
    bodies = [msgspec.json.decode(request.body) for request in peer.received]
    return [(body.get("a"), body.get("b")) for body in bodies]


async def drained(bus: Bus) -> None:
    async def nothing_left() -> bool:
        return all(known(status.pending) == 0 for status in await bus.subscriptions())

    await until(nothing_left)


def test_a_trigger_of_several_dependencies_has_a_subscription_for_each() -> None:
    assert [spec.name for spec in subscriptions([joined("http://h/")])] == ["s/t/a", "s/t/b-1"]
    assert [spec.name for spec in subscriptions([joined("http://h/", "b-1")])] == ["s/t"]


async def test_it_fires_once_for_each_pair_with_the_events_of_both(processes: Processes) -> None:
    async with serving(saying(200)) as peer, processes.bus() as bus:
        async with processes.running(bus, joined(peer.url)):
            (first,) = await processes.publish(bus, "alpha")
            await drained(bus)
            assert sets(peer) == []
            (second,) = await processes.publish(bus, "beta")
            await drained(bus)
            assert sets(peer) == [(first, second)]
        async with processes.running(bus, joined(peer.url)):
            (third,) = await processes.publish(bus, "beta")
            await drained(bus)
            (fourth,) = await processes.publish(bus, "alpha")
            await drained(bus)
    assert sets(peer) == [(first, second), (fourth, third)]
    keys = [request.headers["idempotency-key"] for request in peer.received]
    assert keys == [f"workflows/beta.uid.{second}.ADD/s/t/b-1", f"workflows/alpha.uid.{fourth}.ADD/s/t/a"]


async def test_either_fires_alone_and_the_other_has_no_value(processes: Processes) -> None:
    async with (
        serving(saying(200)) as peer,
        processes.bus() as bus,
        processes.running(bus, joined(peer.url, "a || b-1")),
    ):
        first, second = await processes.publish(bus, "alpha", "beta")
        await drained(bus)
    assert sorted(sets(peer), key=str) == sorted([(first, None), (None, second)], key=str)
    assert {msgspec.json.decode(request.body)["subject"] for request in peer.received} == {"none", "beta"}


async def test_an_event_that_is_enough_as_either_fires_for_each_under_a_key_of_its_own(processes: Processes) -> None:
    async with (
        serving(saying(200)) as peer,
        processes.bus() as bus,
        processes.running(bus, joined(peer.url, "a || b-1", (A, {**A, "name": "b-1"}))),
    ):
        (number,) = await processes.publish(bus, "alpha")
        await drained(bus)
    keys = sorted(request.headers["idempotency-key"] for request in peer.received)
    assert keys == [f"workflows/alpha.uid.{number}.ADD/s/t/{name}" for name in ("a", "b-1")]


async def test_a_key_keeps_apart_what_is_not_of_the_same_object(processes: Processes) -> None:
    async with (
        serving(saying(200)) as peer,
        processes.bus() as bus,
        processes.running(bus, joined(peer.url, conditionsKey={"a": "key", "b-1": "key"})),
    ):
        (x,) = await processes.publish(bus, "alpha", key="x")
        (y,) = await processes.publish(bus, "alpha", key="y")
        await drained(bus)
        (of_y,) = await processes.publish(bus, "beta", key="y")
        await drained(bus)
        assert sets(peer) == [(y, of_y)]
        (of_x,) = await processes.publish(bus, "beta", key="x")
        await drained(bus)
    assert sets(peer) == [(y, of_y), (x, of_x)]


async def test_without_its_key_an_event_is_a_dead_letter(processes: Processes) -> None:
    async with serving(saying(200)) as peer, processes.bus() as bus:
        async with processes.running(bus, joined(peer.url, conditionsKey="body.metadata.name")):
            await processes.publish(bus, "alpha")
            await drained(bus)
        (letter,) = await bus.dead_letters.page()
    assert letter.reason == "the event has nothing at conditionsKey 'body.metadata.name'"


async def test_one_event_can_meet_both_dependencies_by_their_filters(processes: Processes) -> None:
    def filtered(name: str, *values: str) -> dict[str, Any]:
        return {**A, "name": name, "filters": {"data": [{"path": "key", "type": "string", "value": list(values)}]}}

    async with (
        serving(saying(200)) as peer,
        processes.bus() as bus,
        processes.running(bus, joined(peer.url, "", (filtered("a", "x"), filtered("b-1", "x", "y")))),
    ):
        (first,) = await processes.publish(bus, "alpha", key="y")
        await drained(bus)
        assert sets(peer) == []
        (second,) = await processes.publish(bus, "alpha", key="x")
        await drained(bus)
    (pair,) = sets(peer)[:1]
    assert pair[0] == second
    assert pair[1] in (first, second)


async def test_each_event_is_transformed_by_its_own_dependency(processes: Processes) -> None:
    tens, hundreds = ({**of, "transform": {"jq": f"{{n: (.n * {by})}}"}} for of, by in ((A, 10), (B, 100)))
    async with (
        serving(saying(200)) as peer,
        processes.bus() as bus,
        processes.running(bus, joined(peer.url, dependencies=(tens, hundreds))),
    ):
        first, second = await processes.publish(bus, "alpha", "beta")
        await drained(bus)
    assert sets(peer) == [(first * 10, second * 100)]


async def test_while_the_trigger_fails_the_set_waits_and_a_dead_letter_has_it(processes: Processes) -> None:
    status = [503]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status[0])

    async with serving(answer) as peer, processes.bus() as bus:
        async with processes.running(bus, joined(peer.url)):
            (first,) = await processes.publish(bus, "alpha")
            await drained(bus)
            (second,) = await processes.publish(bus, "beta")

            async def asked() -> bool:
                return len(peer.received) > 1

            await until(asked)
            status[0] = 400
            await drained(bus)
        (letter,) = await bus.dead_letters.page()
        status[0] = 200
        await bus.dead_letters.redrive([letter.id])
        async with processes.running(bus, joined(peer.url)):
            await drained(bus)
    assert set(sets(peer)) == {(first, second)}, "whenever it is repeated"


async def test_a_set_whose_events_are_replayed_fires_again_in_another_worker(processes: Processes) -> None:
    async with serving(saying(200)) as peer, processes.bus() as bus:
        async with processes.running(bus, joined(peer.url)):
            first, second = await processes.publish(bus, "alpha", "beta")
            await drained(bus)
        for _ in range(2):
            assert await bus.replay(Replay(subscription="s/t/a")) == 1
            assert await bus.replay(Replay(subscription="s/t/b-1")) == 1
            async with processes.running(bus, joined(peer.url)):
                await drained(bus)
    assert sets(peer) == [(first, second)] * 3


@pytest.mark.parametrize("seed", [1])
async def test_workers_that_are_killed_fire_each_set_and_repeat_it_with_the_same_key(
    processes: Processes, seed: int
) -> None:
    """They die by having all their tasks cancelled, without a word to the bus; claims lapse after a second."""
    rng = random.Random(seed)
    async with serving(saying(200)) as peer, processes.bus(1.0) as bus:
        of = joined(peer.url, conditionsKey="key")
        await bus.register(subscriptions([of]))
        pairs = [str(n) for n in range(30)]
        for n in pairs:
            for subject in rng.sample(["alpha", "beta"], 2):
                await processes.publish(bus, subject, key=n)
        while any(known(status.pending) for status in await bus.subscriptions()):
            async with processes.bus(1.0) as other:
                running = asyncio.create_task(
                    worker.run(other, Current(plan_of([of])), Redelivery(), stop=asyncio.Event())
                )
                before = len(peer.received)

                async def some() -> bool:
                    left = sum(known(status.pending) for status in await bus.subscriptions())
                    return len(peer.received) >= before + 3 or left == 0  # noqa: B023

                await until(some)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    fired: dict[str, tuple[int | None, int | None]] = {}
    for request, one in zip(peer.received, sets(peer), strict=True):
        assert fired.setdefault(request.headers["idempotency-key"], one) == one
    assert len(fired) == len(pairs), "each set fires under one key"
    assert all(n == 1 for n in Counter(fired.values()).values())
    used = [use for a, b in fired.values() for use in (("a", a), ("b", b))]
    assert len(used) == len(set(used)) == 2 * len(pairs), "each event is in one set"
