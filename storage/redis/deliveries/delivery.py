"""One event handed out, and its settlement."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from datetime import timedelta
from typing import Any, Protocol

from kubecdc.storage.contracts import Failures
from kubecdc.storage.delivery import ClaimedDelivery
from kubecdc.storage.redis.deliveries.lanes import Entry
from kubecdc.storage.redis.deliveries.settings import SubscriptionSettings
from kubecdc.storage.redis.deliveries.settler import Settler
from kubecdc.storage.redis_server.connection import Argument


class DeliveryOwner(Protocol):
    """The open subscription that handed out a delivery."""

    def closed(self, delivery: RedisDelivery, delay: float | None) -> None:
        """It is settled, or its claim is lost. ``delay``: it is delivered again here after so many seconds."""
        ...


class RedisDelivery(ClaimedDelivery):
    """`storage.contracts.Delivery`. ``subscription`` is the id that the bus gave the subscription."""

    def __init__(
        self,
        entry: Entry,
        body: bytes,
        *,
        subscription: int,
        settings: SubscriptionSettings,
        settler: Settler,
        owner: DeliveryOwner,
        now: float,
    ) -> None:
        super().__init__(
            body,
            name=entry,
            received=entry.received,
            attempts=entry.attempts,
            failures=entry.failures,
        )
        self.entry = entry
        self._subscription = subscription
        self._settings = settings
        self._settler = settler
        self._owner = owner
        self.until = now + settings.ack_wait  # end of the claim

    @property
    def left(self) -> float:
        """Seconds for which the claim still holds."""
        return self.until - self._settings.now()

    def ack(self) -> Coroutine[Any, Any, None]:
        return self._settle("ack", self._send_ack)

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        seconds, kept = max(0.0, delay.total_seconds()), failures or self.failures

        async def send() -> None:
            await self._send("nack", self._attempted, f"{int(seconds * 1000)} {kept.uncounted} {kept.successes}")
            self.entry.attempts, self.entry.failures = self._attempted, kept

        await self._settle("nack", send, delay=seconds)

    async def extend(self) -> None:
        sent = self._settings.now()
        await self._while_claimed(lambda: self._send("extend", int(self._settings.ack_wait * 1000)))
        self.until = sent + self._settings.ack_wait

    async def dead_letter(self, reason: str) -> None:
        place = self.readable.place if self.readable else ""
        await self._settle("dead letter", lambda: self._send("dead", self._attempted, f"{place}\n{reason}"))

    def lapse(self) -> None:
        """Its claim has passed: it is to be delivered again."""
        self._close("claim lost", 0.0)

    async def _record_attempt(self) -> None:
        await self._send("start", self.attempt)
        self.entry.attempts = self.attempt

    def _closed(self, delay: float | None) -> None:
        self._owner.closed(self, delay)

    def _send_ack(self) -> Awaitable[None]:
        if not self._started:
            return self._send("skip")
        if event := self._event or self.readable:
            return self._send("ack", self.entry.key, event.passes)
        return self._send("ack")

    def _send(self, what: str, first: Argument = 0, second: Argument = "") -> Awaitable[None]:
        return self._settler.settle(self._subscription, self.entry, what, first, second)
