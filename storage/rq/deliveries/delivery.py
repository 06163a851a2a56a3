"""A delivery of the bus on RQ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from kubecdc.storage.contracts import Failures
from kubecdc.storage.delivery import ClaimedDelivery
from kubecdc.storage.rq.deliveries.claim import Claim


class RqDelivery(ClaimedDelivery):
    """`storage.contracts.Delivery`. ``until`` is when its claim lapses, by the clock of the event loop.

    ``closed`` is called once it is settled or lost.
    ``wake`` is called if the next event of its lane may go on, or this one again.
    """

    def __init__(
        self,
        claim: Claim,
        body: bytes,
        *,
        received: int,
        attempts: int,
        failures: Failures,
        wait: int,
        until: float,
        closed: Callable[[RqDelivery], None],
        wake: Callable[[], None],
    ) -> None:
        super().__init__(body, name=claim.job, received=received, attempts=attempts, failures=failures)
        self._claim = claim
        self._wait = wait
        self.until = until
        self._on_close = closed
        self._wake = wake

    async def ack(self) -> None:
        async def call() -> None:
            if await self._claim.ack(success=self._started):
                self._wake()

        await self._settle("ack", call)

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        seconds = max(0.0, delay.total_seconds())

        async def call() -> None:
            await self._claim.release(seconds, self._attempted, failures or self.failures)
            self._wake()

        await self._settle("nack", call, delay=seconds)

    async def extend(self) -> None:
        begun = asyncio.get_running_loop().time()
        await self._while_claimed(lambda: self._claim.extend(self._wait))
        self.until = begun + self._wait / 1000

    async def dead_letter(self, reason: str) -> None:
        async def call() -> None:
            if await self._claim.dead_letter(reason, self._attempted):
                self._wake()

        await self._settle("dead letter", call)

    async def hand_back(self) -> None:
        """Let another worker have it at once. It was not handed out here."""
        await self._settle("handed back", lambda: self._claim.release(0.0, self._attempted, self.failures))

    async def _record_attempt(self) -> None:
        await self._claim.record_attempts(self.attempt, self.failures)

    def _closed(self, delay: float | None) -> None:
        self._on_close(self)
