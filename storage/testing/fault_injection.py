"""Faults behind the contracts: a publisher and deliveries that crash, lose replies, are slow or do things twice.

A fault is a function of the call that it spoils. `FaultyPublisher` and `FaultyBus` take one fault per call from a
script; None, and the end of the script, is no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import timedelta

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Batch, Bus, Delivery, Subscription, SubscriptionSpec, Term, TransactionalPublisher
from kubecdc.storage.contracts.event import Event

Call = Callable[[], Awaitable[None]]
Fault = Callable[[Call], Awaitable[None]]


class Crash(BaseException):
    """The process died here: nothing handles it, so it ends the code under test as a kill would."""


async def crash_before(call: Call) -> None:
    """Die before anything was done."""
    raise Crash


async def crash_after(call: Call) -> None:
    """Die after it was done, before anybody heard of it."""
    await call()
    raise Crash


async def refused(call: Call) -> None:
    """Unavailable, and nothing was done."""
    raise Unavailable("a fault made for the test")


async def lost_reply(call: Call) -> None:
    """It was done, and looks as if it were not."""
    await call()
    raise Unavailable("a reply lost for the test")


async def duplicate(call: Call) -> None:
    """It arrives twice."""
    await call()
    await call()


def slow(seconds: float) -> Fault:
    """It takes its time."""

    async def fault(call: Call) -> None:
        await asyncio.sleep(seconds)
        await call()

    return fault


class Script:
    """The faults to come, one per call."""

    def __init__(self, faults: Iterable[Fault | None] = ()) -> None:
        self._faults = iter(faults)

    async def run(self, call: Call) -> None:
        """Make the call, spoilt by the next fault."""
        fault = next(self._faults, None)
        await (fault(call) if fault else call())


class FaultyPublisher:
    """A `TransactionalPublisher` whose calls follow the script."""

    def __init__(self, inner: TransactionalPublisher, script: Script) -> None:
        self._inner = inner
        self._script = script
        self.under_way = inner.under_way

    async def publish(self, events: Sequence[Event]) -> None:
        await self._script.run(lambda: self._inner.publish(events))

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return self._inner.prepare(batch, term=term)

    async def commit(self, batch: Batch, *, term: Term) -> None:
        await self._script.run(lambda: self._inner.commit(batch, term=term))


class FaultyDelivery:
    """A `Delivery` whose settlement (ack, nack, dead_letter) follows the script."""

    def __init__(self, inner: Delivery, script: Script) -> None:
        self._inner = inner
        self._script = script

    @property
    def event(self) -> Event:
        return self._inner.event

    @property
    def body(self) -> bytes:
        return self._inner.body

    @property
    def attempt(self) -> int:
        return self._inner.attempt

    async def start(self) -> None:
        await self._inner.start()

    async def extend(self) -> None:
        await self._inner.extend()

    async def ack(self) -> None:
        await self._script.run(self._inner.ack)

    async def nack(self, delay: timedelta) -> None:
        await self._script.run(lambda: self._inner.nack(delay))

    async def dead_letter(self, reason: str) -> None:
        await self._script.run(lambda: self._inner.dead_letter(reason))


class FaultySubscription:
    """A `Subscription` whose deliveries are `FaultyDelivery`, all of one script."""

    def __init__(self, inner: Subscription, script: Script) -> None:
        self._inner = inner
        self._script = script

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in self._inner.deliveries():
            yield FaultyDelivery(delivery, self._script)

    async def registered(self) -> SubscriptionSpec | None:
        return await self._inner.registered()


class FaultyBus:
    """A bus with faults; all that is not spoilt is the inner bus's own."""

    def __init__(self, inner: Bus, *, commits: Script | None = None, settlements: Script | None = None) -> None:
        self._inner = inner
        self._settlements = settlements or Script()
        self.capabilities = inner.capabilities
        self.ack_wait = inner.ack_wait
        self.publisher: TransactionalPublisher = FaultyPublisher(inner.publisher, commits or Script())
        self.checkpoints = inner.checkpoints
        self.elector = inner.elector
        self.state = inner.state
        self.register = inner.register
        self.subscriptions = inner.subscriptions
        self.prune = inner.prune
        self.dead_letters = inner.dead_letters
        self.replayable = inner.replayable
        self.replay = inner.replay
        self.close = inner.close

    def subscription(self, name: str, *, prefetch: int) -> Subscription:
        return FaultySubscription(self._inner.subscription(name, prefetch=prefetch), self._settlements)
