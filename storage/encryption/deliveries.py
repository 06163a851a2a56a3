"""Opens the events that a subscription delivers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import cast

from kubecdc.storage.contracts import Delivery, Failures, Subscription
from kubecdc.storage.contracts.errors import Locked, Undecodable
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption.codec import Codec


class SealedDelivery:
    """`storage.contracts.Delivery`. While the key is not there, the event is as it is stored: `Event.encryptionkey`."""

    def __init__(self, inner: Delivery, codec: Codec) -> None:
        self._inner = inner
        self._codec = codec
        self._event: Event | None = None

    @property
    def event(self) -> Event:
        if self._event is None:
            stored = self._inner.event
            try:
                self._event = self._codec.open(stored)
            except Locked:
                return stored
        return self._event

    @property
    def body(self) -> bytes:
        stored = self._inner.body
        try:
            return self.event.encode() if Event.decode(stored).encryptionkey else stored
        except Undecodable:
            return stored

    @property
    def attempt(self) -> int:
        return self._inner.attempt

    @property
    def failures(self) -> Failures:
        return self._inner.failures

    async def start(self) -> None:
        await self._inner.start()

    def withdraw(self) -> None:
        self._inner.withdraw()

    async def ack(self) -> None:
        await self._inner.ack()

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        await self._inner.nack(delay, failures)

    async def extend(self) -> None:
        await self._inner.extend()

    async def dead_letter(self, reason: str) -> None:
        await self._inner.dead_letter(reason)


class SealedSubscription:
    """`storage.contracts.Subscription`."""

    def __init__(self, inner: Subscription, codec: Codec) -> None:
        self._inner = inner
        self._codec = codec
        self.successes = inner.successes
        self.registered = inner.registered

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async with aclosing(cast("AsyncGenerator[Delivery]", self._inner.deliveries())) as deliveries:
            async for delivery in deliveries:
                yield SealedDelivery(delivery, self._codec)
