"""Claims what is due and hands it out, at most ``prefetch`` unsettled at a time."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta

import apsw
import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.sqlite.administration import registrations
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.delivery import SqliteDelivery
from kubecdc.storage.sqlite.deliveries.lanes import Claim
from kubecdc.storage.sqlite.deliveries.notifier import Bell
from kubecdc.storage.sqlite.deliveries.presence import Presence
from kubecdc.storage.sqlite.file.reader import Reader
from kubecdc.storage.sqlite.file.writer import Writer

log = structlog.get_logger()
LOOK = 1.0  # seconds without a ring after which a listener looks anyway: clocks are set, rings are not
RETRY = Backoff(duration=0.1, cap=5.0)


class SqliteSubscription:
    """`storage.contracts.Subscription`."""

    def __init__(
        self,
        name: str,
        writer: Writer,
        reader: Reader,
        bell: Bell,
        presence: Presence,
        *,
        prefetch: int,
        holder: str,
        ack_wait: timedelta,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.name = name
        self._writer = writer
        self._reader = reader
        self._bell = bell
        self._presence = presence
        self._prefetch = prefetch
        self._holder = holder
        self._ack_wait = ack_wait
        self._clock = clock
        self._rng = rng
        self._held: set[SqliteDelivery] = set()  # claimed here and not settled
        self._wake = asyncio.Event()

    async def deliveries(self) -> AsyncIterator[SqliteDelivery]:
        """Ends when the bus is closed."""
        claimed: deque[SqliteDelivery] = deque()
        failures = 0
        self._reader.watch()
        with self._bell.listen(self._wake), self._presence.at(self.name):
            try:
                while not self._reader.closed:
                    self._wake.clear()
                    try:
                        wait = await self._fill(claimed)
                        if failures:
                            log.info("recovered", name=self.name)
                        failures = 0
                    except Unavailable as e:
                        failures += 1
                        if failures == 1 and not self._reader.closed:
                            log.warning("cannot read the subscription", name=self.name, error=str(e), hint=e.hint)
                        wait = RETRY.delay(failures, self._rng)
                    while claimed:
                        ours = await self._still_ours(claimed[0])
                        delivery = claimed.popleft()
                        if ours:
                            yield delivery
                    if wait > 0:
                        await self._wait(wait)
            finally:
                for delivery in claimed:
                    delivery.give_back()

    async def registered(self) -> SubscriptionSpec | None:
        return await self._reader.submit(lambda db: registrations.registered(db, self.name))

    async def _fill(self, claimed: deque[SqliteDelivery]) -> float:
        """Claim what there is room for. Returns the seconds after which it is worth looking again without a ring."""
        self._reader.require_sound()
        self._held = {delivery for delivery in self._held if not delivery.lapsed}  # nobody here waits for those
        room = self._prefetch - len(self._held)
        if room <= 0:
            return LOOK
        due = await self._reader.submit(lambda db: lanes.next_due(db, self.name))
        now = self._clock()
        if due is None or due > now:
            return LOOK if due is None else min(due - now, LOOK)
        until = now + self._ack_wait.total_seconds()
        token = secrets.token_hex(8)
        taken: list[Claim] = []

        def take(db: apsw.Connection) -> list[Claim]:
            taken[:] = lanes.claim(db, self.name, token=token, holder=self._holder, now=now, until=until, limit=room)
            return taken

        try:
            claims = await self._writer.submit(take)
        except asyncio.CancelledError:  # the claim may happen yet; what is queued after it undoes it
            self._writer.post(lambda db: lanes.release(db, taken, now))
            raise
        for claim in claims:
            delivery = SqliteDelivery(
                claim, self._writer, until=until, ack_wait=self._ack_wait, clock=self._clock, over=self._settled
            )
            self._held.add(delivery)
            claimed.append(delivery)
        return 0.0

    async def _still_ours(self, delivery: SqliteDelivery) -> bool:
        """A delivery that waited here for long needs its claim renewed before it is handed out."""
        try:
            if delivery.stale:
                await delivery.extend()
            return True
        except ClaimLost:
            return False
        except Unavailable:
            delivery.give_back()
            return False

    def _settled(self, delivery: SqliteDelivery) -> None:
        self._held.discard(delivery)
        self._wake.set()

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
