"""One claimed event and its settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property

import apsw

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqlite.administration import dead_letters
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.lanes import Claim
from kubecdc.storage.sqlite.file.writer import Writer

DEADLINE = 10.0  # seconds for a call; another's lock is given up on sooner


class SqliteDelivery:
    """`storage.contracts.Delivery`. ``over`` is called once, when it is settled or its claim is lost."""

    def __init__(
        self,
        claim: Claim,
        writer: Writer,
        *,
        until: float,
        ack_wait: timedelta,
        clock: Callable[[], float],
        over: Callable[[SqliteDelivery], None],
    ) -> None:
        self.claim = claim
        self._writer = writer
        self._until = until
        self._ack_wait = ack_wait.total_seconds()
        self._clock = clock
        self._over = over
        self._started = False
        self._settled = ""  # by which method

    @cached_property
    def event(self) -> Event:
        return Event.decode(self.claim.body)

    @property
    def body(self) -> bytes:
        return self.claim.body

    @property
    def attempt(self) -> int:
        return self.claim.attempts + 1

    @property
    def lapsed(self) -> bool:
        """The claim has passed."""
        return self._clock() > self._until

    @property
    def stale(self) -> bool:
        """Half of the claim has passed."""
        return self._clock() > self._until - self._ack_wait / 2

    async def start(self) -> None:
        if self.claim.received > 0:  # whoever had it before may have died of it
            await self._run(lambda db: lanes.start(db, self.claim))
        self._started = True

    async def ack(self) -> None:
        await self._settle("ack", lambda db: lanes.ack(db, self.claim))

    async def nack(self, delay: timedelta) -> None:
        due = self._clock() + delay.total_seconds()
        await self._settle("nack", lambda db: lanes.nack(db, self.claim, due, self._attempts))

    async def extend(self) -> None:
        until = self._clock() + self._ack_wait
        await self._run(lambda db: lanes.extend(db, self.claim, until))
        self._until = until

    async def dead_letter(self, reason: str) -> None:
        now = self._clock()
        await self._settle(
            "dead_letter", lambda db: dead_letters.put_aside(db, self.claim, reason, self._attempts, now)
        )

    def give_back(self) -> None:
        """It was never handed out: undo the claim, as far as it is still ours."""
        now = self._clock()
        self._writer.post(lambda db: lanes.release(db, [self.claim], now))
        self._end("given back")

    @property
    def _attempts(self) -> int:
        """With this one, if it was started."""
        return self.claim.attempts + self._started

    async def _settle(self, how: str, operation: Callable[[apsw.Connection], None]) -> None:
        if self._settled == how:
            return
        await self._run(operation)
        self._end(how)

    async def _run(self, operation: Callable[[apsw.Connection], None]) -> None:
        if self._settled:
            raise ClaimLost(f"event {self.claim.seq} is over here ({self._settled})")
        try:
            async with asyncio.timeout(DEADLINE):
                await self._writer.submit(operation)
        except TimeoutError as e:  # it is still queued, and may be done yet
            raise Unavailable(f"the bus's file was not written for {DEADLINE:g} s", hint="is its disk well?") from e
        except ClaimLost:
            self._end("claim lost")
            raise

    def _end(self, how: str) -> None:
        if not self._settled:
            self._settled = how
            self._over(self)
