"""Fault injection behind the contracts: calls that crash, lose their reply, are slow or are made twice.

A fault is a function that makes the call, or does not. `FaultyPublisher` and `FaultyBus` take one fault for each call
from a script; None, and the end of the script, stand for no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import (
    Batch,
    Bus,
    Delivery,
    Failures,
    Publication,
    StateStore,
    Subscription,
    SubscriptionSpec,
    Term,
    TransactionalPublisher,
)
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.delegation import WrappedDelivery

Call = Callable[[], Awaitable[None]]
Fault = Callable[[Call], Awaitable[None]]


class Crash(BaseException):
    """The process dies here. Nothing handles this error, so it ends the code under test as a kill would."""


async def crash_before(call: Call) -> None:
    """Die before the call."""
    raise Crash


async def crash_after(call: Call) -> None:
    """Die after the call, before its reply."""
    await call()
    raise Crash


async def refused(call: Call) -> None:
    """Raise Unavailable without making the call."""
    raise Unavailable("a fault made for the test")


async def lost_reply(call: Call) -> None:
    """Make the call, and raise Unavailable."""
    await call()
    raise Unavailable("a reply lost for the test")


async def duplicate(call: Call) -> None:
    """Make the call twice."""
    await call()
    await call()


def slow(seconds: float) -> Fault:
    """Make the call after a pause."""

    async def fault(call: Call) -> None:
        await asyncio.sleep(seconds)
        await call()

    return fault


class Script:
    """Faults for the next calls, one for each."""

    def __init__(self, faults: Iterable[Fault | None] = ()) -> None:
        self._faults = iter(faults)

    async def run(self, call: Call) -> None:
        """Make the call with the next fault."""
        fault = next(self._faults, None)
        await (fault(call) if fault else call())


class FaultyPublisher:
    """A `TransactionalPublisher` whose calls follow the script."""

    def __init__(self, inner: TransactionalPublisher, script: Script) -> None:
        self._inner = inner
        self._script = script
        self.under_way = inner.under_way

    async def publish(self, publication: Publication) -> None:
        await self._script.run(lambda: self._inner.publish(publication))

    def fit(self, event: Event) -> Event:
        return self._inner.fit(event)

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return self._inner.prepare(batch, term=term)

    async def commit(self, batch: Batch, *, term: Term) -> None:
        await self._script.run(lambda: self._inner.commit(batch, term=term))


class FaultyDelivery(WrappedDelivery):
    """A `Delivery` whose settlement (ack, nack, dead_letter) follows the script."""

    def __init__(self, inner: Delivery, script: Script) -> None:
        super().__init__(inner)
        self._script = script

    async def ack(self) -> None:
        await self._script.run(self._inner.ack)

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        await self._script.run(lambda: self._inner.nack(delay, failures))

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

    async def successes(self) -> int:
        return await self._inner.successes()

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return await self._inner.registered()


class FaultyBus:
    """A bus with faults in commits and settlements. All else is that of the inner bus."""

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
        self.keep = inner.keep
        self.subscriptions = inner.subscriptions
        self.prune = inner.prune
        self.ensure = inner.ensure
        self.dead_letters = inner.dead_letters
        self.replayable = inner.replayable
        self.replay = inner.replay
        self.close = inner.close

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> Subscription:
        return FaultySubscription(self._inner.subscription(name, prefetch=prefetch, state=state), self._settlements)
