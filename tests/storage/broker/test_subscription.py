"""Deliveries from a broker that repeats, forgets, is slow, or gives a message to another worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from kubecdc import metrics
from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.storage.broker import subscription as engine
from kubecdc.storage.broker.contract import Received, Results
from kubecdc.storage.broker.ledger import SUCCESSES
from kubecdc.storage.broker.metrics import STALE
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.contracts import ClaimLost, Delivery, Failures, Publication, StateStore, SubscriptionSpec, Term
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event, events, until
from tests.storage.broker import memory
from tests.storage.broker.memory import Broker, MemoryQueue, MemorySource, Stored, Topic

NAME = "billing"
SPEC = SubscriptionSpec(NAME, SOURCE, SUBJECT)


class Worker:
    """A process with the subscription open."""

    def __init__(
        self, broker: Broker, state: StateStore | None, *, ack_wait: float, prefetch: int, holder: str
    ) -> None:
        self.queue = MemoryQueue(broker, holder, timedelta(seconds=ack_wait))
        self.subscription = self.queue.subscription(NAME, prefetch=prefetch, state=state)
        self.deliveries = self.subscription.deliveries()

    async def next(self) -> Delivery:
        async with asyncio.timeout(60):
            return await anext(self.deliveries)

    async def acked(self, count: int) -> None:
        """The next so many are a success."""
        for _ in range(count):
            delivery = await self.next()
            await delivery.start()
            await delivery.ack()

    async def nothing(self, seconds: float = 0.3) -> None:
        task = asyncio.ensure_future(self.deliveries.__anext__())
        done, _ = await asyncio.wait({task}, timeout=seconds)
        assert not done, [t.result().event.id for t in done]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        await self.deliveries.aclose()  # type: ignore[attr-defined]


class Room:
    """A broker with a subscription, a state store, and workers."""

    def __init__(self, state: StateStore) -> None:
        self.state: StateStore | None = state
        self.broker = Broker()
        self.topic = self.broker.topics[NAME] = Topic(SPEC)
        self.workers: list[Worker] = []
        self.number = 0

    def worker(self, *, ack_wait: float = 30.0, prefetch: int = 10) -> Worker:
        self.workers.append(
            Worker(self.broker, self.state, ack_wait=ack_wait, prefetch=prefetch, holder=f"w{len(self.workers)}")
        )
        return self.workers[-1]

    async def publish(self, *some: int, name: str = "a") -> list[Stored]:
        self.number += 1
        await MemoryQueue(self.broker).publish(Publication(events(some, name), term=Term(1, "l"), number=self.number))
        return self.topic.messages[-len(some) :]

    def calls(self, name: str) -> list[int]:
        return [size for call, size in self.broker.calls if call == name]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    bus = await open_bus(SqliteSettings(tmp_path / "state.db"), holder="x")
    made = Room(bus.state)
    yield made
    for worker in made.workers:
        await worker.stop()
    await bus.close()


async def test_what_rolling_restarts_received_and_gave_back_is_no_attempt(room: Room) -> None:
    (message,) = await room.publish(1)
    for _ in range(4):  # as the broker counts, far more than the attempts that a manifest may allow
        worker = room.worker()
        delivery = await worker.next()
        assert delivery.attempt == 1
        await worker.stop()
        await delivery.nack(timedelta(0))
    assert message.receptions == 4
    worker = room.worker()
    delivery = await worker.next()
    await delivery.start()
    await delivery.nack(timedelta(0))
    assert (await worker.next()).attempt == 2


async def test_without_a_state_store_receptions_stand_for_attempts_except_those_of_this_process(room: Room) -> None:
    room.state = None
    (message,) = await room.publish(1)
    worker = room.worker()
    await (await worker.next()).nack(timedelta(0))
    delivery = await worker.next()
    assert delivery.attempt == 1
    await delivery.start()
    await delivery.nack(timedelta(0))
    assert (await worker.next()).attempt == 2
    assert message.receptions == 1
    await worker.stop()
    message.visible = 0.0
    assert (await room.worker().next()).attempt == 2, "all that is known is that it was received before"


async def test_without_a_state_store_failures_and_successes_are_those_of_this_process(room: Room) -> None:
    room.state = None
    await room.publish(1)
    await room.publish(1, name="b")
    worker = room.worker()
    failed, other = await worker.next(), await worker.next()
    await failed.start()
    await failed.nack(timedelta(0), Failures(3, 2))
    again = await worker.next()
    assert (again.attempt, again.failures) == (2, Failures(3, 2))
    before = await worker.subscription.successes()
    await other.start()
    await other.ack()
    assert await worker.subscription.successes() > before
    assert await room.worker().subscription.successes() == before, "another process"


async def test_successes_cost_no_change_of_the_state_while_nothing_fails(room: Room) -> None:
    assert room.state is not None
    await room.publish(*range(1, 21))
    worker = room.worker()
    await worker.acked(10)
    assert await room.state.get(NAME, SUCCESSES) is None
    first = await worker.subscription.successes()  # as after a failure
    await worker.acked(5)
    noted = await room.state.get(NAME, SUCCESSES)
    assert noted is not None
    assert int(noted.value) == first + 1
    assert await room.worker().subscription.successes() == first + 1


async def test_what_a_broker_delivers_again_after_its_successor_was_settled_is_acked_and_not_run(room: Room) -> None:
    first, _ = await room.publish(1, 2)
    worker = room.worker()
    metrics.forget(
        "subscription", NAME
    )  # as when a reload moves its trigger to this bus, and the worker on another ends
    for _ in range(2):
        await (await worker.next()).ack()
    first.visible = 0.0
    room.topic.messages.append(first)  # the service does that after a nack, and says so
    room.topic.changed.set()

    async def acked_again() -> bool:
        return not room.topic.messages

    task = asyncio.create_task(worker.nothing(1.0))
    await until(acked_again)
    await task
    assert STALE.at(NAME).value == 1


async def test_a_copy_that_is_made_on_purpose_is_run(room: Room) -> None:
    await room.publish(1, 2)
    worker = room.worker()
    for _ in range(2):
        await (await worker.next()).ack()
    room.broker.put(room.topic, event(1).encode(), event(1).partitionkey, "")
    await asyncio.sleep(0)
    room.number = 0  # moved by the broker's own redrive: the same attributes, a new message
    redriven = await worker.next()
    assert redriven.event.id == event(1).id
    await redriven.ack()
    room.broker.put(
        room.topic, event(1).encode(), event(1).partitionkey, Publication([], term=Term(1, "l"), number=1).order(0)
    )
    moved = await worker.next()
    assert moved.event.id == event(1).id
    await moved.ack()
    assert room.topic.messages == []


async def test_a_claim_that_lapsed_by_our_own_clock_is_lost_whatever_the_broker_would_say(room: Room) -> None:
    (message,) = await room.publish(1)
    worker = room.worker(ack_wait=0.2)
    delivery = await worker.next()
    message.visible = room.broker.now + 60  # a broker that would take a receipt that has lapsed
    await asyncio.sleep(0.25)
    for settle in (delivery.ack, delivery.extend, lambda: delivery.dead_letter("late")):
        with pytest.raises(ClaimLost):
            await settle()
    assert room.calls("ack") == room.calls("extend") == room.calls("dead_letter") == []


async def test_what_backs_off_is_held_and_extended_where_the_broker_cannot_delay(room: Room) -> None:
    first, second = await room.publish(1, 2)
    await room.publish(3, name="b")
    worker = room.worker(ack_wait=0.3)
    seen = [await worker.next(), await worker.next()]
    (held,) = [delivery for delivery in seen if delivery.event.id == event(1).id]
    await held.start()
    await held.nack(timedelta(seconds=1.0))
    await next(delivery for delivery in seen if delivery is not held).ack()
    other = room.worker()
    await other.nothing(0.7)
    again = await worker.next()
    assert (again.event.id, again.attempt) == (event(1).id, 2)
    assert (first.receptions, second.receptions) == (1, 1)
    assert len(room.calls("extend")) >= 3


async def test_a_nack_that_the_broker_delays_hands_back_the_later_ones_first(room: Room) -> None:
    room.broker.longest_delay = 43_200.0
    first, *later = await room.publish(*range(5))
    worker = room.worker()
    delivery = await worker.next()
    await delivery.nack(timedelta(seconds=60))
    assert [call for call in room.broker.calls if call[0] == "release"] == [("release", 4), ("release", 1)]
    assert first.visible > room.broker.now + 50
    assert all(message.visible <= room.broker.now for message in later)
    await worker.nothing()


async def test_acks_are_gathered_and_each_has_its_own_result(room: Room) -> None:
    for n in range(10):
        await room.publish(n, name=f"o-{n}")
    worker = room.worker()
    taken = [await worker.next() for _ in range(10)]
    room.topic.messages[3].handle = -1  # another worker has it
    results = await asyncio.gather(*(delivery.ack() for delivery in taken), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [ClaimLost]
    assert room.calls("ack") == [10]
    assert len(room.topic.messages) == 1


async def test_what_is_being_acked_makes_room_once_however_long_the_acks_take(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        await room.publish(number, name=f"object-{number}")
    answer = asyncio.Event()
    ack = MemorySource.ack

    async def slow(source: MemorySource, messages: Sequence[Received]) -> Results:
        await answer.wait()
        return await ack(source, messages)

    monkeypatch.setattr(MemorySource, "ack", slow)
    worker = room.worker(prefetch=2)
    acks = [asyncio.create_task((await worker.next()).ack()) for _ in range(4)]
    await worker.nothing()
    answer.set()
    await asyncio.gather(*acks)
    assert len(room.topic.messages) == 4


async def test_an_ack_that_failed_is_repeated_until_it_is_done(room: Room) -> None:
    await room.publish(1)
    delivery = await room.worker().next()

    def fail(call: str) -> None:
        if call == "ack":
            room.broker.before = lambda call: None
            raise Unavailable("no")

    room.broker.before = fail
    with pytest.raises(Unavailable):
        await delivery.ack()
    await delivery.ack()
    assert room.topic.messages == []


async def test_a_stop_returns_what_was_received_and_not_handed_out(room: Room) -> None:
    messages = [*await room.publish(1, 2, 3), *await room.publish(4, name="b")]
    worker = room.worker()
    delivery = await worker.next()
    await worker.stop()
    mine = next(message for message in messages if message.handle)
    assert sum(bool(message.handle) for message in messages) == 1
    await delivery.nack(timedelta(0))
    assert mine.handle == 0


async def test_the_lane_of_a_lost_claim_is_given_back_so_that_the_broker_orders_it(room: Room) -> None:
    first, second, third = await room.publish(1, 2, 3)
    worker = room.worker()
    delivery = await worker.next()
    first.handle = -1
    with pytest.raises(ClaimLost):
        await delivery.extend()

    async def given_back() -> bool:
        return second.handle == third.handle == 0

    await until(given_back)
    first.visible = 0.0
    assert [(await worker.next()).event.id] == [event(1).id]


@pytest.mark.parametrize("how", ["dead_letter", "ack"])
async def test_what_the_broker_refuses_to_settle_is_delivered_again_and_holds_nothing_up(room: Room, how: str) -> None:
    denied = {how}

    def refuse(call: str) -> None:
        if call in denied:
            raise UsageError("AccessDenied")

    room.broker.before = refuse
    first, _ = await room.publish(1, 2)
    (other,) = await room.publish(3, name="b")
    worker = room.worker(ack_wait=0.5, prefetch=2)  # both take all the room that there is

    async def work() -> None:
        while True:
            delivery = await worker.next()
            with suppress(ClaimLost, UsageError):
                await delivery.start()
                await (delivery.ack() if how == "ack" else delivery.dead_letter("bad"))

    async def repeated() -> bool:
        return min(first.receptions, other.receptions) >= 3

    async def settled() -> bool:
        return not room.topic.messages

    task = asyncio.create_task(work())
    await until(repeated)
    assert not task.done()
    denied.clear()
    await until(settled)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_not_settled_does_not_keep_the_later_ones_of_its_lane_from_other_workers(room: Room) -> None:
    def refuse(call: str) -> None:
        if call == "dead_letter":
            raise UsageError("AccessDenied")

    room.broker.before = refuse
    _, second = await room.publish(1, 2)
    failing = room.worker(ack_wait=0.5)
    delivery = await failing.next()
    with pytest.raises(UsageError):
        await delivery.dead_letter("bad")
    assert second.handle

    async def given_back() -> bool:
        return not second.handle

    await until(given_back)
    await failing.stop()
    other = room.worker()
    for number in (1, 2):
        delivery = await other.next()
        assert delivery.event.id == event(number).id
        await delivery.ack()


async def test_a_lane_that_leaves_to_make_room_is_not_run_meanwhile(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BrokerSettings, "held_messages", 2)
    monkeypatch.setattr(memory, "WAIT", 0.01)
    leaving, answer = asyncio.Event(), asyncio.Event()
    release = MemorySource.release

    async def slow(source: MemorySource, messages: Sequence[Received], delay: float) -> Results:
        leaving.set()
        await answer.wait()
        return await release(source, messages, delay)

    monkeypatch.setattr(MemorySource, "release", slow)
    await room.publish(1, 2, 3)
    worker = room.worker(prefetch=2)
    delivery = await worker.next()
    await delivery.start()
    due = room.broker.now + 2
    await delivery.nack(timedelta(seconds=2))
    handed_out = asyncio.ensure_future(worker.deliveries.__anext__())
    async with asyncio.timeout(60):
        await leaving.wait()
    await asyncio.wait({handed_out}, timeout=due + 0.3 - room.broker.now)
    assert not handed_out.done()
    answer.set()
    delivery = await handed_out
    assert (delivery.event.id, delivery.attempt) == (event(1).id, 2), "the broker has given it again"
    await delivery.nack(timedelta(0))
    await worker.acked(3)
    assert room.topic.messages == []


async def test_a_lane_that_waits_makes_room_for_others(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokerSettings, "held_messages", 5)
    worker = room.worker(prefetch=2)
    for name in "ab":
        await room.publish(*range(6), name=name)
        delivery = await worker.next()
        await delivery.start()
        await delivery.nack(timedelta(seconds=60))
    await room.publish(1, name="z")
    async with asyncio.timeout(60):
        while (delivery := await worker.next()).event.id != event(1, "z").id:
            await delivery.nack(timedelta(seconds=60))
    await delivery.ack()


async def test_a_lane_waits_while_its_state_is_not_to_be_had(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STATE_SECONDS", 0.05)
    (message,) = await room.publish(1)
    message.receptions = 1  # so the state store is asked
    failures = 3

    class Flaky:
        frequent = True

        async def get(self, scope: str, key: str) -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise Unavailable("down", hint="grant it")

    room.state = Flaky()  # type: ignore[assignment]
    with structlog.testing.capture_logs() as logs:
        assert (await room.worker().next()).attempt == 1
    assert failures < 0
    assert [(line["log_level"], line.get("hint")) for line in logs] == [("warning", "grant it"), ("info", None)]


async def test_a_state_that_no_attempt_can_mend_ends_the_deliveries(room: Room) -> None:
    (message,) = await room.publish(1)
    message.receptions = 1  # so the state store is asked

    class Damaged:
        frequent = True

        async def get(self, scope: str, key: str) -> None:
            raise Refused("damaged")

    room.state = Damaged()  # type: ignore[assignment]
    with pytest.raises(Refused, match="damaged"):
        await room.worker().next()


async def test_an_error_that_is_no_outage_ends_the_deliveries(room: Room) -> None:
    worker = room.worker()

    def broken(call: str) -> None:
        raise RuntimeError("a bug")

    room.broker.before = broken
    with pytest.raises(RuntimeError, match="a bug"):
        await worker.next()


async def test_a_closed_queue_ends_its_deliveries_and_gives_back_what_waits(room: Room) -> None:
    messages = await room.publish(1, 2)
    worker = room.worker()
    delivery = await worker.next()
    await worker.queue.close()
    with pytest.raises(StopAsyncIteration):
        await worker.next()
    assert [bool(message.handle) for message in messages] == [True, False]
    await delivery.ack()
    assert room.topic.messages == messages[1:]


async def test_what_was_run_and_could_not_be_acked_is_not_run_again_by_another_worker(room: Room) -> None:
    first, _ = await room.publish(1, 2)
    worker = room.worker()
    delivery = await worker.next()
    first.handle = -1  # the broker has taken the claim away
    with pytest.raises(ClaimLost):
        await delivery.ack()
    await worker.stop()
    first.visible = 0.0
    assert (await room.worker().next()).event.id == event(2).id

    async def acked() -> bool:
        return first not in room.topic.messages

    await until(acked)


async def test_without_order_and_a_store_for_it_each_event_is_run_however_late_it_comes(room: Room) -> None:
    room.broker.fifo, room.state = False, None
    older, newer = await room.publish(1, 2)
    older.visible = room.broker.now + 0.3
    worker = room.worker()
    for expected in (newer, older):
        delivery = await worker.next()
        assert delivery.body == expected.body
        await delivery.ack()
    room.broker.put(room.topic, newer.body, newer.lane, newer.order).id = newer.id  # delivered twice by the broker

    async def acked() -> bool:
        return not room.topic.messages

    task = asyncio.create_task(worker.nothing(0.5))
    await until(acked)
    await task


async def test_what_was_run_for_longer_than_its_claim_is_not_run_again_by_another_worker(room: Room) -> None:
    (message,) = await room.publish(1)
    worker = room.worker(ack_wait=0.2)
    delivery = await worker.next()
    message.visible = room.broker.now + 60
    await asyncio.sleep(0.25)
    with pytest.raises(ClaimLost):
        await delivery.ack()
    await worker.stop()
    message.visible = 0.0
    task = asyncio.create_task(room.worker().nothing(0.5))

    async def acked() -> bool:
        return not room.topic.messages

    await until(acked)
    await task
