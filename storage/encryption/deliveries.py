"""Opens the events that a subscription delivers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from kubecdc.storage.contracts import Delivery, Subscription
from kubecdc.storage.contracts.errors import Locked, Undecodable
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.delegation import WrappedDelivery
from kubecdc.storage.encryption.codec import Codec


class SealedDelivery(WrappedDelivery):
    """A `Delivery` whose event is opened. While the key is not there, it is as it is stored: `Event.encryptionkey`."""

    def __init__(self, inner: Delivery, codec: Codec) -> None:
        super().__init__(inner)
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
        try:
            return self.event.encode() if self._inner.event.encryptionkey else self._inner.body
        except Undecodable:
            return self._inner.body


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
