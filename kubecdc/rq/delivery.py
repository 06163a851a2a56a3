"""The one event of a job of RQ, as the pipeline of the workers receives and settles it.

RQ's worker ends the job. Until then the event is delivered again in the same job, after its delay: the job keeps its
place in its lane, and RQ's own retries would not wait, or give the place away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Failures, Subscription, SubscriptionSpec
from kubecdc.storage.delivery import ClaimedDelivery
from kubecdc.storage.rq.deliveries.claim import Claim

CHECK_SECONDS = 2.0  # until a paused subscription is looked at again


class JobDelivery(ClaimedDelivery):
    """`storage.contracts.Delivery`. ``wait``: milliseconds that an extension lasts."""

    def __init__(
        self, claim: Claim, body: bytes, *, received: int, attempts: int, failures: Failures, wait: int
    ) -> None:
        super().__init__(body, name=claim.job, received=received, attempts=attempts, failures=failures)
        self._claim = claim
        self._wait = wait
        self._kept = failures
        self._end: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self.reason = ""  # of a dead letter

    @property
    def done(self) -> bool:
        """It was acked."""
        return self._settled == "ack"

    @property
    def lost(self) -> bool:
        """Another worker has it, or will have it."""
        return self._settled == "claim lost"

    def again(self) -> JobDelivery:
        """The next delivery of the event in this job."""
        return JobDelivery(
            self._claim,
            self.body,
            received=self._received + 1,
            attempts=self._attempted,
            failures=self._kept,
            wait=self._wait,
        )

    async def keep_for(self, delay: float) -> None:
        """Wait, and keep the job meanwhile. Raises ClaimLost."""
        clock = asyncio.get_running_loop().time
        until = clock() + delay
        while (left := until - clock()) > 0:
            with suppress(Unavailable):
                await self._claim.extend(self._wait)
            await asyncio.sleep(min(left, self._wait / 3000))

    async def settled(self) -> float | None:
        """Wait for the settlement. Returns after how many seconds it is to be delivered again; None: it is not."""
        return await self._end

    async def ack(self) -> None:
        await self._settle("ack", lambda: self._claim.ending(self._attempted, success=self._started))

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        seconds = max(0.0, delay.total_seconds())
        self._kept = failures or self.failures
        await self._settle("nack", lambda: self._claim.record_attempts(self._attempted, self._kept), delay=seconds)

    async def extend(self) -> None:
        await self._while_claimed(lambda: self._claim.extend(self._wait))

    async def dead_letter(self, reason: str) -> None:
        await self._settle("dead letter", lambda: self._claim.ending(self._attempted, reason))
        self.reason = reason

    async def _record_attempt(self) -> None:
        await self._claim.record_attempts(self.attempt, self.failures)

    def _closed(self, delay: float | None) -> None:
        self._end.set_result(delay)


class JobSubscription:
    """`storage.contracts.Subscription` with the event of one job. ``whole`` is the subscription that it belongs to.

    While that is ``paused``, the event is kept in its job.
    """

    def __init__(self, first: JobDelivery, whole: Subscription, paused: Callable[[], Awaitable[bool]]) -> None:
        self._whole = whole
        self._paused = paused
        self.last = first

    async def deliveries(self) -> AsyncIterator[JobDelivery]:
        """Ends once the event is settled for good. Raises ClaimLost if that happens during a delay."""
        while True:
            while await self._paused():
                await self.last.keep_for(CHECK_SECONDS)
            yield self.last
            delay = await self.last.settled()
            if delay is None:
                return
            await self.last.keep_for(delay)
            self.last = self.last.again()

    async def successes(self) -> int:
        return await self._whole.successes()

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return await self._whole.registered()
