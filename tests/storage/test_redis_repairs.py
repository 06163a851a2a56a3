"""Workers of a Redis bus come and go, and somebody deletes what they use: what is left is delivered in order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from kubecdc.storage.contracts import Delivery, Publication, Replay, SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost, NoSubscription
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis.deliveries import dispatcher
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event, pending, until
from tests.storage.conftest import RedisHarness

SUBJECTS = ("one", "two")
HOME = {"s/0": "one", "s/1": "one", "s/2": "two"}
NUMBERS = {name: number for number, name in enumerate(HOME, 1)}
PARTITIONS = 2
STEPS = {
    "publish": 8, "settle": 14, "redrive": 1, "replay": 1, "destroy": 3, "delete": 1, "unrecord": 2, "flush": 1,
    "come": 2, "go": 1, "pause": 1, "older": 1, "move": 1, "retain": 1,
}  # fmt: skip


class Worker:
    """Takes what it is given at once; it is settled later, also after the worker has left."""

    def __init__(self, scene: Scene, bus: RedisBus, name: str) -> None:
        self.name = name
        self._task = asyncio.create_task(self._run(scene, bus))

    async def _run(self, scene: Scene, bus: RedisBus) -> None:
        async for delivery in bus.subscription(self.name, prefetch=scene.prefetch).deliveries():
            scene.received(self.name, delivery)

    def check(self) -> None:
        """Raises what has ended it."""
        if self._task.done():
            self._task.result()

    async def leave(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Scene:
    """A bus, its workers, and what each subscription is owed."""

    def __init__(self, harness: RedisHarness, rng: Random) -> None:
        self._rng = rng
        self._settings = replace(
            harness.settings,
            partitions=PARTITIONS,
            ack_wait=timedelta(seconds=3),  # a claim that was lost with its group is over before the test is
            retention=timedelta(hours=rng.choice((0, 1))),
        )
        self._harness = harness
        self.prefetch = rng.choice((1, 3, 16))
        self._numbers: dict[str, int] = {}  # of each event id
        self._owed: defaultdict[str, set[str]] = defaultdict(set)
        self._gone: set[str] = set()  # ids that were in a stream which was deleted
        self._last: dict[tuple[str, str, str], int] = {}  # of each lane
        self._seen: set[tuple[str, str]] = set()
        self._workers: list[Worker] = []
        self._taken: list[tuple[str, Delivery]] = []
        self._older: RedisBus | None = None

    async def begin(self) -> None:
        self.buses = [await self._harness.redis(self._settings, holder) for holder in ("a", "b")]
        self.bus = self.buses[0]
        for bus in self.buses:
            await bus.register([SubscriptionSpec(name, SOURCE, subject) for name, subject in HOME.items()])
        self._workers = [Worker(self, self.bus, name) for name in HOME]

    async def end(self) -> None:
        for worker in self._workers:
            await worker.leave()

    def received(self, name: str, delivery: Delivery) -> None:
        one = delivery.event
        if one.id in self._owed[name] and (name, one.id) not in self._seen:
            lane = (name, one.subject, one.partitionkey)
            assert self._numbers[one.id] > self._last.get(lane, 0), "in order, when it is received first"
            self._last[lane] = self._numbers[one.id]
        self._seen.add((name, one.id))
        self._taken.append((name, delivery))

    async def step(self) -> None:
        (what,) = self._rng.choices(list(STEPS), list(STEPS.values()))
        await getattr(self, what)()

    async def publish(self) -> None:
        subject, first = self._rng.choice(SUBJECTS), len(self._numbers) + 1
        numbers = range(first, first + self._rng.choice((1, 4, 12)))
        events = [event(number, f"o-{self._rng.randrange(5)}", subject=subject) for number in numbers]
        self._numbers |= {one.id: number for one, number in zip(events, numbers, strict=True)}
        for _ in range(2):  # the first time, a record may be missing
            owed, ids = [name for name in HOME if subject in await self._subjects(name)], {one.id for one in events}
            for name in owed:
                self._owed[name] |= ids
            try:
                await self.bus.publisher.publish(Publication(events))
            except NoSubscription:  # else they all have moved
                for name in owed:
                    self._owed[name] -= ids
            else:
                break

    async def _subjects(self, name: str) -> list[str]:
        return [spec.subject for spec in await self.bus.subscription(name, prefetch=1).registered()]

    async def settle(self) -> None:
        await asyncio.sleep(0.01)
        for _ in range(min(len(self._taken), self._rng.choice((1, 3, 10)))):
            name, delivery = self._taken.pop(self._rng.randrange(len(self._taken)))
            await self._settle(name, delivery, self._rng.choices(("ack", "nack", "dead"), (6, 2, 1))[0])

    async def _settle(self, name: str, delivery: Delivery, what: str) -> None:
        with suppress(ClaimLost):  # its partition moved while its group was missing, for example
            await delivery.start()
            match what:
                case "ack":
                    await delivery.ack()
                case "nack":
                    await delivery.nack(timedelta(seconds=self._rng.choice((0, 0.02))))
                case "dead":
                    await delivery.dead_letter("refused")
            if what != "nack":
                self._owed[name].discard(delivery.event.id)

    async def redrive(self) -> None:
        letters = await self.bus.dead_letters.page(limit=3)
        stay = await self.bus.dead_letters.redrive([letter.id for letter in letters])  # those without a record
        for letter in letters:
            if letter.id not in stay:
                self._owed[letter.subscription].add(letter.event)

    async def replay(self) -> None:
        with suppress(NoSubscription):  # its record is missing
            await self.bus.replay(Replay(subscription=self._rng.choice(list(HOME))))

    async def destroy(self) -> None:
        stream, name = self._stream(), self._rng.choice(list(HOME))
        if await self.bus._connection.keyed("EXISTS", stream):
            key = f"{self._settings.prefix}:{stream}"
            await self.bus._connection.command("XGROUP", "DESTROY", key, f"{NUMBERS[name]}:{name}")

    async def delete(self) -> None:
        stream = self._stream()
        for _, fields in await self.bus._connection.keyed("XRANGE", stream, "-", "+"):
            self._gone.add(fields[fields.index(b"id") + 1].decode())
        await self.bus._connection.keyed("DEL", stream)

    def _stream(self) -> str:
        return f"events:{self._rng.choice((1, 2))}:{self._rng.randrange(PARTITIONS)}"

    async def unrecord(self) -> None:
        await self.bus._registrations.restore()  # one record knows what is in the other
        number = self._rng.choice((0, *NUMBERS.values()))
        if not number:
            await self.bus._connection.keyed("DEL", "subscriptions")
        elif await self._has_groups(number):
            await self.bus._connection.keyed("DEL", f"subscription:{number}")

    async def _has_groups(self, number: int) -> bool:
        """Whether there is one for each of its earlier entries: nothing else tells that it has them."""
        entries = await self.bus._connection.keyed("HGET", f"subscription:{number}", "entries") or b""
        for entry in entries.decode().split()[:-1]:
            if not any([await self._has_group(number, f"events:{entry}:{part}") for part in range(PARTITIONS)]):
                return False
        return True

    async def _has_group(self, number: int, stream: str) -> bool:
        if not await self.bus._connection.keyed("EXISTS", stream):
            return False
        groups = await self.bus._connection.command("XINFO", "GROUPS", f"{self._settings.prefix}:{stream}")
        return any(group[1].startswith(b"%d:" % number) for group in groups)

    async def flush(self) -> None:
        await self.bus._connection.command("SCRIPT", "FLUSH")

    async def come(self) -> None:
        name = self._rng.choice(list(HOME))
        if sum(worker.name == name for worker in self._workers) < 2:
            self._workers.append(Worker(self, self._rng.choice(self.buses), name))

    async def go(self) -> None:
        if self._workers:
            await self._workers.pop(self._rng.randrange(len(self._workers))).leave()

    async def pause(self) -> None:
        name = self._rng.choice(list(HOME))
        for worker in [worker for worker in self._workers if worker.name == name]:
            self._workers.remove(worker)
            await worker.leave()

    async def older(self) -> None:
        """A process that has another dependency comes, or goes."""
        if self._older:
            await self._older.close()
            self._older = None
        else:
            self._older = await self._harness.redis(self._settings, "older")
            await self._older.register([self._other()])

    async def move(self) -> None:
        spec = self._other()
        for bus in self.buses:
            await bus.register([spec])

    def _other(self) -> SubscriptionSpec:
        return SubscriptionSpec(self._rng.choice(list(HOME)), SOURCE, self._rng.choice(SUBJECTS))

    async def retain(self) -> None:
        await self.bus.retention.enforce()

    async def drained(self) -> bool:
        """Ack what has come. Whether nothing is owed any more; what is gone is found by the leader."""
        for worker in self._workers:
            worker.check()
        while self._taken:
            await self._settle(*self._taken.pop(0), "ack")
        await self.retain()
        return not any([self._left(name) or await pending(self.bus, name) for name in HOME])

    def _left(self, name: str) -> set[str]:
        return self._owed[name] - self._gone

    async def drain(self) -> None:
        for name in HOME:
            if not any(worker.name == name for worker in self._workers):
                self._workers.append(Worker(self, self.bus, name))
        try:
            await until(self.drained)
        except TimeoutError:
            raise AssertionError({name: sorted(map(self._numbers.get, self._left(name))) for name in HOME}) from None  # type: ignore[type-var]


@pytest.fixture
async def scene(redis_harness: RedisHarness, seed: int) -> AsyncIterator[Scene]:
    scene = Scene(redis_harness, Random(seed))
    await scene.begin()
    yield scene
    await scene.end()


@pytest.mark.parametrize("seed", range(5))
async def test_all_that_is_pending_is_delivered_in_order(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "CHECK", 0.1)  # the time after which a worker looks for what nobody has told it
    for _ in range(60):
        await scene.step()
    await scene.drain()


async def test_a_worker_that_ends_in_its_first_heartbeat_leaves_the_partitions_to_others(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a trigger is paused or reloaded just after its start. Its leases would hold for 30 s."""
    bus = await redis_harness.redis()
    await bus.register([SubscriptionSpec("billing", SOURCE, SUBJECT)])
    await bus.publisher.publish(Publication([event(1)]))
    run, taken = Connection.run, asyncio.Event()

    async def unanswered(self: Connection, script: str, *args: Argument) -> object:
        answer = await run(self, script, *args)
        if script == "deliveries/heartbeat":
            taken.set()
            await asyncio.Event().wait()
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "run", unanswered)
        async with Receiver.of(bus, "billing"):
            await taken.wait()
    async with Receiver.of(bus, "billing") as receiver:
        assert await receiver.acked(1) == [event(1).id]
