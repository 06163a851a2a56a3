"""Base of classes that wrap a delivery and change part of it."""

from __future__ import annotations

from datetime import timedelta

from kubecdc.storage.contracts import Delivery, Failures
from kubecdc.storage.contracts.event import Event


class WrappedDelivery:
    """A `storage.contracts.Delivery` that delegates to ``inner``, except for what a subclass overrides."""

    def __init__(self, inner: Delivery) -> None:
        self._inner = inner

    @property
    def event(self) -> Event:
        return self._inner.event

    @property
    def body(self) -> bytes:
        return self._inner.body

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

    async def extend(self) -> None:
        await self._inner.extend()

    async def ack(self) -> None:
        await self._inner.ack()

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        await self._inner.nack(delay, failures)

    async def dead_letter(self, reason: str) -> None:
        await self._inner.dead_letter(reason)
