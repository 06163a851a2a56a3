"""One claimed event, and its settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import apsw

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Failures
from kubecdc.storage.delivery import ClaimedDelivery
from kubecdc.storage.sqlite.administration import dead_letters
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.lanes import Claim
from kubecdc.storage.sqlite.deliveries.settings import SubscriptionSettings
from kubecdc.storage.sqlite.file.writer import Writer

DEADLINE = 10.0  # seconds for a call; waiting for a lock of another process ends sooner


class SqliteDelivery(ClaimedDelivery):
    """`storage.contracts.Delivery`. ``over`` is called once, when it is settled or its claim is lost."""

    def __init__(
        self,
        claim: Claim,
        writer: Writer,
        settings: SubscriptionSettings,
        *,
        until: float,
        over: Callable[[SqliteDelivery], None],
    ) -> None:
        super().__init__(
            claim.body, name=claim.seq, received=claim.received, attempts=claim.attempts, failures=claim.failures
        )
        self.claim = claim
        self._writer = writer
        self._subscription = settings.name
        self._until = until
        self._ack_wait = settings.ack_wait.total_seconds()
        self._times = settings.times
        self._over = over

    @property
    def lapsed(self) -> bool:
        """The claim has passed."""
        return self._times.elapsed() > self._until

    @property
    def stale(self) -> bool:
        """Half of the claim has passed."""
        return self._times.elapsed() > self._until - self._ack_wait / 2

    async def ack(self) -> None:
        def operation(db: apsw.Connection) -> None:
            lanes.ack(db, self.claim, success=success)
            if event and success:
                dead_letters.supersede(db, self._subscription, event)

        event, success = self.readable, self._started
        await self._settle("ack", lambda: self._write(operation))

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        kept = failures or self.failures

        def operation(db: apsw.Connection) -> None:
            due = self._times.in_file(db) + delay.total_seconds()
            lanes.nack(db, self.claim, due, self._attempted, kept)

        await self._settle("nack", lambda: self._write(operation))

    async def extend(self) -> None:
        asked = self._times.elapsed()

        def operation(db: apsw.Connection) -> None:
            lanes.extend(db, self.claim, self._times.in_file(db) + self._ack_wait)

        await self._while_claimed(lambda: self._write(operation))
        self._until = asked + self._ack_wait

    async def dead_letter(self, reason: str) -> None:
        now = self._times.now()

        def operation(db: apsw.Connection) -> None:
            dead_letters.put_aside(db, self.claim, reason, self._attempted, now, place)

        place = self.readable.place if self.readable else ""
        await self._settle("dead letter", lambda: self._write(operation))

    def give_back(self) -> None:
        """It was never handed out: undo the claim, unless it has lapsed."""
        self._writer.post(lambda db: lanes.release(db, [self.claim], self._times.in_file(db)))
        self._close("given back")

    async def _record_attempt(self) -> None:
        await self._write(lambda db: lanes.start(db, self.claim))

    def _closed(self, delay: float | None) -> None:
        self._over(self)

    async def _write(self, operation: Callable[[apsw.Connection], None]) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self._times.follow(self._writer)
                await self._writer.submit(operation)
        except TimeoutError as e:  # it is still queued, and may be done later
            raise Unavailable(
                f"the file of the bus could not be written for {DEADLINE:g} s", hint="check the disk that it is on"
            ) from e
