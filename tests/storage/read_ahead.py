"""How many bytes of events the subscriptions of a process hold together, on whatever bus."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from kubecdc.storage import memory
from kubecdc.storage.contracts import Bus, Delivery, SubscriptionSpec
from kubecdc.storage.memory import PROCESS
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event

SUBSCRIPTIONS = 5
SIZE = 20_000
EVENTS = 30
FIT = 20
STILL_SECONDS = 0.5
SOON_SECONDS = 3.0


async def no_receiver_answers_then_all_do(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read than may be held; in the end each subscription has had every event."""
    _limit(monkeypatch)
    names = [f"sensor/{n}" for n in range(SUBSCRIPTIONS)]
    await bus.register([SubscriptionSpec(name, SOURCE, SUBJECT) for name in names])
    leader = await Leader.take(bus)
    await _commit_all(leader)
    async with AsyncExitStack() as stack:
        receivers = [await stack.enter_async_context(Receiver.of(bus, name, prefetch=64)) for name in names]
        held = await asyncio.gather(*map(_taken, receivers))
        assert FIT // 2 <= sum(map(len, held)) <= FIT + SUBSCRIPTIONS
        assert PROCESS.held <= PROCESS.limit + SUBSCRIPTIONS * 2 * SIZE, "each may be one event over"
        await asyncio.gather(*(_have_all(*one) for one in zip(receivers, held, strict=True)))
    assert PROCESS.held == 0


async def room_that_others_make_is_used(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """One receiver does not answer. Once the other is done, more is read for the one, though it has settled nothing."""
    _limit(monkeypatch)
    await bus.register([SubscriptionSpec(name, SOURCE, SUBJECT) for name in ("sensor/quick", "sensor/slow")])
    leader = await Leader.take(bus)
    await _commit_all(leader)
    async with Receiver.of(bus, "sensor/quick", prefetch=64) as quick:
        taken = await _taken(quick)  # all that one may have
        async with Receiver.of(bus, "sensor/slow", prefetch=64) as slow:
            held = await _taken(slow)
            assert 0 < len(held) < len(taken)
            await _have_all(quick, taken)
            async with asyncio.timeout(SOON_SECONDS):
                await slow._taken.get()


def _limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROCESS, "limit", FIT * SIZE)
    monkeypatch.setattr(memory, "FIRST_SIZE", SIZE)  # else one event is all that is held until some small ones came


async def _commit_all(leader: Leader) -> None:
    for start in range(0, EVENTS, 10):
        numbers = range(start, start + 10)
        await leader.commit(*(event(number, f"object-{number}", padding=SIZE) for number in numbers))


async def _taken(receiver: Receiver) -> list[Delivery]:
    """All that comes until it stays still."""
    taken = [await receiver.next()]
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(STILL_SECONDS):
                taken.append(await receiver._taken.get())
    return taken


async def _have_all(receiver: Receiver, taken: list[Delivery]) -> None:
    for delivery in taken:
        await delivery.start()
        await delivery.ack()
    ids = await receiver.acked(EVENTS - len(taken))
    assert len({*ids, *(delivery.event.id for delivery in taken)}) == EVENTS


async def each_is_larger_than_the_limit(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are delivered one by one, and small ones between them."""
    monkeypatch.setattr(PROCESS, "limit", SIZE)
    await bus.register([SubscriptionSpec("sensor/a", SOURCE, SUBJECT)])
    leader = await Leader.take(bus)
    for number in range(4):
        await leader.commit(event(number, f"object-{number}", padding=5 * SIZE), event(number + 10, "one"))
    async with Receiver.of(bus, "sensor/a", prefetch=64) as receiver:
        assert len(set(await receiver.acked(8))) == 8
