"""The breaker of a trigger: an outage costs probes, not the backlog. Time passes only when nothing is left to do."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubecdc.backoff import Backoff
from kubecdc.storage.contracts import Publication, StateChange, StateEntry, SubscriptionSpec, Term
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.breaker import FAILURES, Breaker
from kubecdc.workers.metrics import TriggerMetrics
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.request import TriggerRequest
from tests.exported import REGISTRY
from tests.storage.broker.memory import Broker, MemoryQueue, Topic
from tests.watcher.virtual import World, run
from tests.workers.support import FakeTrigger, event, log_trigger, route, settings

NAME = "s/t"
HOUR = 3600.0
LABELS = {"sensor": "the breaker's", "trigger": "t"}  # nobody else's
exported = TriggerMetrics(*LABELS.values())
DOWN = Retry("503")


@asynccontextmanager
async def turn(one: Breaker) -> AsyncIterator[bool]:
    """A turn, as the pipeline takes it."""
    is_probe = one.open and await one.turn()
    try:
        yield is_probe
    finally:
        if is_probe:
            one.leave()


def breaker(world: World, **backoff: float) -> Breaker:
    made = Breaker(Backoff(**{"jitter": 0, **backoff}), names={"sensor": "s", "trigger": "t"}, now=world.time)
    exported.breaker_open = lambda: made.open
    return made


def gauge() -> float | None:
    return REGISTRY.get_sample_value("kubecdc_trigger_breaker_open", LABELS)


def fail(one: Breaker, *keys: object) -> None:
    for key in keys:
        one.ended(str(key), DOWN, probe=False)


def simulated(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def wrapped(world: World) -> None:
        await scenario(world)
        await asyncio.sleep(1)  # what was cancelled ends

    run(wrapped)


def test_failures_in_a_row_over_different_objects_open_it_and_nothing_else_does() -> None:
    async def scenario(world: World) -> None:
        one = breaker(world)
        fail(one, *["poison"] * 100, *range(FAILURES - 2))
        assert not one.open
        one.ended("another", Failure("400"), probe=False)
        one.ended("good", Success(), probe=False)
        fail(one, *range(FAILURES - 1))
        assert (one.open, gauge()) == (False, 0)
        fail(one, "the fifth")
        assert (one.open, gauge()) == (True, 1)
        one.ended("another", Failure("400"), probe=False)
        assert one.open, "what can never work says nothing"
        one.ended("under way since before", Success(), probe=False)
        assert (one.open, gauge()) == (False, 0)

    simulated(scenario)


def test_probes_go_one_at_a_time_in_turn_with_a_growing_pause_up_to_the_cap() -> None:
    async def scenario(world: World) -> None:
        one = breaker(world, cap=20)
        fail(one, *range(FAILURES))
        at: list[tuple[int, float]] = []
        running = 0

        async def attempt(number: int) -> None:
            nonlocal running
            async with turn(one) as is_probe:
                running += 1
                assert not is_probe or running == 1
                at.append((number, world.time()))
                await asyncio.sleep(0.5)
                running -= 1
                one.ended(str(number), DOWN if number < 7 else Success(), probe=is_probe)

        begin = world.time()
        with capture_logs() as logs:
            await asyncio.gather(*(attempt(number) for number in range(10)))
        assert [number for number, _ in at] == list(range(10))
        times = [round(time - begin, 3) for _, time in at]
        assert times[:8] == [1.0, 3.5, 8.0, 16.5, 33.0, 53.5, 74.0, 94.5]
        assert times[8:] == [95.0, 95.0], "the rest, once it is closed"
        (closed,) = logs
        assert closed["event"] == "the trigger works again"
        assert (closed["waited"], closed["probes"], closed["seconds"]) == (10, 7, 95.0)

    simulated(scenario)


@pytest.mark.parametrize(("after", "pause"), [(None, 1.0), (0.2, 1.0), (7.0, 7.0), (86_400.0, 20.0)])
def test_what_the_peer_asks_for_counts_up_to_the_cap(after: float | None, pause: float) -> None:
    async def scenario(world: World) -> None:
        one = breaker(world, cap=20)
        begin = world.time()
        for key in range(FAILURES):
            one.ended(str(key), Retry("503", after), probe=False)
        async with turn(one):
            assert world.time() - begin == pytest.approx(pause)

    simulated(scenario)


def test_a_probe_that_is_cancelled_or_tells_nothing_gives_its_turn_to_the_next_at_once() -> None:
    async def scenario(world: World) -> None:
        one = breaker(world)
        fail(one, *range(FAILURES))
        begin = world.time()

        async def attempt(outcome: Outcome | None) -> float:
            async with turn(one) as is_probe:
                assert is_probe
                if outcome is None:
                    await asyncio.sleep(HOUR)
                else:
                    one.ended("x", outcome, probe=is_probe)
            return world.time() - begin

        waits, probe, *others = [asyncio.create_task(attempt(o)) for o in (None, None, Failure("400"), DOWN)]
        await asyncio.sleep(0.5)
        waits.cancel()
        await asyncio.sleep(5.0)
        assert not any(other.done() for other in others)
        probe.cancel()
        assert await asyncio.gather(*others) == [pytest.approx(5.5)] * 2

    simulated(scenario)


@dataclass
class DictState:
    """A `StateStore` that two workers share."""

    frequent = False
    values: dict[tuple[str, str], StateEntry] = field(default_factory=dict)

    async def get(self, scope: str, key: str) -> StateEntry | None:
        await asyncio.sleep(0.001)
        return self.values.get((scope, key))

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        await asyncio.sleep(0.001)
        found = self.values.get((scope, key))
        if (found.version if found else "") != change.follows:
            raise StateConflict.of(scope, key)
        self.values[scope, key] = StateEntry(change.value, change.token)

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        await asyncio.sleep(0.001)
        self.values.pop((scope, key), None)

    async def keys(self, scope: str) -> list[str]:
        return [key for of, key in self.values if of == scope]


@dataclass
class Receiver:
    """Is away for the first two hours, and never takes what is poison."""

    world: World
    back: float = 2 * HOUR
    poison: str = ""
    requests: list[tuple[float, str]] = field(default_factory=list)
    taken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    async def answer(self, request: TriggerRequest[Any]) -> Outcome:
        key = request.event.partitionkey
        self.requests.append((self.world.time(), key))
        await asyncio.sleep(0.02)
        if self.world.time() < self.back or key == self.poison:
            return DOWN
        self.taken[key].append(request.event.sequence)
        return Success()


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("longest_delay", [0.0, 900.0])
def test_two_hours_without_a_receiver_cost_probes_and_no_dead_letter(workers: int, longest_delay: float) -> None:
    """2,000 events are pending, a poisonous one among them. The broker's delays are held here, or are its own."""

    async def scenario(world: World) -> None:
        broker, state = Broker(longest_delay=longest_delay), DictState()
        topic = broker.topics[NAME] = Topic(SubscriptionSpec(NAME, "workflows", "changed"))
        receiver, number = Receiver(world, poison="object-7"), 0

        async def publish(events: list[Event]) -> None:
            nonlocal number
            number += 1
            await MemoryQueue(broker).publish(Publication(events, term=Term(1, "leader"), number=number))

        for version in range(1, 6):
            await publish([event(version, key=f"object-{n}") for n in range(400) if n != 7 or version == 1])
        pending = len(topic.messages)
        stop = asyncio.Event()
        rules = settings(max_deliveries=3, grace=3.0, ack_wait=timedelta(minutes=1))
        consumers = []
        for holder in range(workers):
            queue = MemoryQueue(broker, f"w{holder}", timedelta(minutes=1))
            subscription = queue.subscription(NAME, prefetch=rules.concurrency, state=state)
            to = route(FakeTrigger(receiver.answer), log_trigger(retryStrategy={"steps": 3, "duration": "10ms"}))
            consumers.append(asyncio.create_task(consume(subscription, to, rules, stop=stop)))

        with capture_logs() as logs:
            await asyncio.sleep(receiver.back - world.time() - 1)
            assert topic.dead == []
            assert len(topic.messages) == pending
            in_outage = [at for at, _ in receiver.requests]
            # What was under way when it opened, and what the failures before made room for; each three times (steps).
            begun = 3 * (rules.concurrency + FAILURES - 1)
            pause = rules.backoff.cap * (1 - rules.backoff.jitter)  # the shortest, once they have doubled up to the cap
            most = 12 + 2 * HOUR / pause
            print(f"{len(in_outage)} requests in two hours, {len([at for at in in_outage if at > 60])} after a minute")
            assert len(in_outage) <= workers * (begun + most)
            assert len([at for at in in_outage if at > HOUR]) <= workers * (HOUR / pause + 1)

            await asyncio.sleep(rules.backoff.cap + 1)
            while sum(map(len, receiver.taken.values())) < pending - 1:  # delays from before end within the cap
                assert world.time() < receiver.back + 2 * rules.backoff.cap
                await asyncio.sleep(1)
            version = 5
            while not topic.dead:
                assert world.time() < receiver.back + 2 * HOUR
                version += 1
                await publish([event(version, key=f"object-{n}") for n in range(20, 24)])
                await asyncio.sleep(20)
        stop.set()
        await asyncio.gather(*consumers)

        assert topic.messages == []
        ((poison, reason, attempts),) = topic.dead
        assert poison.lane == receiver.poison
        assert reason.startswith(f"gave up after {attempts} attempts")
        for key, versions in receiver.taken.items():
            assert versions == [f"{n:020}" for n in range(1, len(versions) + 1)], f"{key} in order, each once"
        assert len(receiver.taken) == 399
        said = Counter(line["event"] for line in logs if line["log_level"] != "debug")
        assert said == {
            "the trigger failed": said["the trigger failed"],
            "the trigger fails for all objects; only one event at a time is tried": workers,
            "the trigger works again": workers,
            "dead letter": 1,
        }

    simulated(scenario)


@pytest.mark.long
def test_what_waits_for_longer_than_give_up_after_ends_without_an_attempt() -> None:
    async def scenario(world: World) -> None:
        broker = Broker()
        topic = broker.topics[NAME] = Topic(SubscriptionSpec(NAME, "workflows", "changed"))
        events = [event(1, key=f"object-{n}") for n in range(300)]
        captured = datetime.fromisoformat(events[0].time).timestamp()
        await MemoryQueue(broker).publish(Publication(events, term=Term(1, "leader"), number=1))
        receiver, stop = Receiver(world), asyncio.Event()
        rules = settings(give_up_after=timedelta(hours=1), wall=lambda: captured + world.time(), max_deliveries=0)
        subscription = MemoryQueue(broker).subscription(NAME, prefetch=rules.concurrency)
        consumer = asyncio.create_task(consume(subscription, route(FakeTrigger(receiver.answer)), rules, stop=stop))
        await asyncio.sleep(HOUR - 1)
        assert topic.dead == []
        await asyncio.sleep(61)
        waited = [reason for _, reason, attempts in topic.dead if attempts == 0]
        assert len(waited) >= 300 - len(receiver.requests) - 1
        assert set(waited) == {
            "gave up after 0 attempts, because it was captured more than 1:00:00 ago (giveUpAfter): 503"
        }
        await asyncio.sleep(2 * rules.backoff.cap)  # those that back off end at their next turn
        assert len(topic.dead) == 300
        stop.set()
        await consumer

    simulated(scenario)


def test_what_waits_keeps_its_claim_and_a_stop_returns_it_at_once() -> None:
    async def scenario(world: World) -> None:
        broker = Broker()
        topic = broker.topics[NAME] = Topic(SubscriptionSpec(NAME, "workflows", "changed"))
        events = [event(1, key=f"object-{n}") for n in range(30)]
        await MemoryQueue(broker).publish(Publication(events, term=Term(1, "leader"), number=1))
        receiver, stop = Receiver(world), asyncio.Event()
        rules = settings(grace=3.0, concurrency=8, backoff=Backoff(duration=HOUR, cap=HOUR, jitter=0))
        subscription = MemoryQueue(broker).subscription(NAME, prefetch=8)
        consumer = asyncio.create_task(consume(subscription, route(FakeTrigger(receiver.answer)), rules, stop=stop))
        await asyncio.sleep(HOUR - 60)
        tried = {key for _, key in receiver.requests}
        assert len(receiver.requests) == 8, "those under way when it opened, and no probe yet"
        assert {message.receptions for message in topic.messages if message.lane not in tried} <= {0, 1}
        before = world.time()
        stop.set()
        await consumer
        assert world.time() - before < 1.0
        assert len(topic.messages) == 30
        other = MemoryQueue(broker).subscription(NAME, prefetch=30).deliveries()
        async with asyncio.timeout(5):
            found = [await anext(other) for _ in range(30)]
        assert len({delivery.event.id for delivery in found}) == 30
        await other.aclose()  # type: ignore[attr-defined]

    simulated(scenario)
