"""One event handed out and its settlement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis.deliveries.lanes import Entry
from kubecdc.storage.redis.deliveries.settler import Settler


class Owner(Protocol):
    """The open subscription that a delivery came from."""

    def over(self, delivery: RedisDelivery, delay: float | None) -> None:
        """It is settled or lost: gone, or to be delivered again after so many seconds."""
        ...


class RedisDelivery:
    """`storage.contracts.Delivery`. The owner is told once, when it is settled or its claim is lost."""

    def __init__(
        self,
        entry: Entry,
        body: bytes,
        settler: Settler,
        owner: Owner,
        *,
        subscription: int,
        ack_wait: float,
        now: Callable[[], float],
    ) -> None:
        self.entry = entry
        self.subscription = subscription
        self._body = body
        self._event: Event | None = None
        self._settler = settler
        self._owner = owner
        self._ack_wait = ack_wait
        self._now = now
        self.until = now() + ack_wait  # the claim holds
        self._received = entry.received
        self._attempts = entry.attempts  # before this one
        self._started = False
        self._settled = ""  # by which method

    @property
    def event(self) -> Event:
        if self._event is None:
            self._event = Event.decode(self._body)
        return self._event

    @property
    def body(self) -> bytes:
        return self._body

    @property
    def attempt(self) -> int:
        return self._attempts + 1

    @property
    def left(self) -> float:
        """Seconds for which the claim holds."""
        return self.until - self._now()

    async def start(self) -> None:
        if self._received > 0:  # whoever had it before may have died of it
            await self._run("start", self._attempts + 1)
            self.entry.attempts = self._attempts + 1
        self._started = True

    async def ack(self) -> None:
        await self._settle("ack")

    async def nack(self, delay: timedelta) -> None:
        seconds = max(0.0, delay.total_seconds())
        await self._settle("nack", self._tried, int(seconds * 1000), delay=seconds)

    async def extend(self) -> None:
        sent = self._now()
        await self._run("extend", int(self._ack_wait * 1000))
        self.until = sent + self._ack_wait

    async def dead_letter(self, reason: str) -> None:
        await self._settle("dead", self._tried, reason)

    def lapse(self) -> None:
        """Its claim has passed: it is to be delivered again."""
        self._end("claim lost", 0.0)

    def lose(self) -> None:
        """Somebody else has it."""
        self._end("claim lost", None)

    @property
    def _tried(self) -> int:
        """Attempts, with this one if it was started."""
        return self._attempts + self._started

    async def _settle(self, how: str, first: int = 0, second: int | str = "", *, delay: float | None = None) -> None:
        if self._settled == how:
            return
        await self._run(how, first, second)
        if how == "nack":
            self.entry.attempts = first
        self._end(how, delay)

    async def _run(self, what: str, first: int = 0, second: int | str = "") -> None:
        if self._settled:
            raise ClaimLost(f"event {self.entry.eid.decode()} is over here ({self._settled})")
        try:
            await self._settler.settle(self.subscription, self.entry, what, first, second)
        except ClaimLost:
            self._end("claim lost", None)
            raise

    def _end(self, how: str, delay: float | None) -> None:
        if not self._settled:
            self._settled = how
            self._owner.over(self, delay)
