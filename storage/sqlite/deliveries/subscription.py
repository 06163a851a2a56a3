"""Claims what is due and hands it out, at most ``prefetch`` unsettled at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

import apsw

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.memory import Share
from kubecdc.storage.outage import Outage
from kubecdc.storage.sqlite.administration import registrations
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.delivery import SqliteDelivery
from kubecdc.storage.sqlite.deliveries.lanes import Claim
from kubecdc.storage.sqlite.deliveries.notifier import Notifier
from kubecdc.storage.sqlite.deliveries.presence import Presence
from kubecdc.storage.sqlite.deliveries.settings import SubscriptionSettings
from kubecdc.storage.sqlite.file.reader import Reader
from kubecdc.storage.sqlite.file.writer import Writer

CHECK = 1.0  # seconds without a notification after which who has no room looks again for claims that have lapsed
IDLE = 30.0  # after which the file is read anyway; the reader tells within a second of whatever becomes due


class SqliteSubscription:
    """`storage.contracts.Subscription`."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        writer: Writer,
        reader: Reader,
        notifier: Notifier,
        presence: Presence,
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._writer = writer
        self._reader = reader
        self._notifier = notifier
        self._presence = presence
        self._held: set[SqliteDelivery] = set()  # claimed here and not settled
        self._share = Share(settings.memory)
        self._wake = asyncio.Event()

    async def deliveries(self) -> AsyncIterator[SqliteDelivery]:
        """Ends when the bus is closed."""
        claimed: deque[SqliteDelivery] = deque()
        outage = Outage(
            "cannot read the subscription", self._settings.rng, code="subscription-unreadable", subscription=self.name
        )
        self._reader.watch()
        with self._notifier.listen(self.name, self._wake), self._presence.at(self.name), self._share.opened():
            try:
                while not self._reader.closed:
                    self._wake.clear()
                    try:
                        wait = await self._fill(claimed)
                        outage.over()
                    except Unavailable as e:
                        if self._reader.closed:
                            break
                        wait = outage.failed(e)
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

    async def successes(self) -> int:
        return await self._reader.submit(lambda db: lanes.successes(db, self.name))

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return await self._reader.submit(lambda db: registrations.registered(db, self.name))

    async def _fill(self, claimed: deque[SqliteDelivery]) -> float:
        """Claim what there is room for. Returns the seconds to wait for a notification before the next call."""
        self._reader.require_sound()
        await self._settings.times.follow(self._writer)
        for delivery in [delivery for delivery in self._held if delivery.lapsed]:
            self._forget(delivery)  # nobody here settles it any more
        room = self._settings.prefetch - len(self._held)
        if room <= 0 or self._share.full:
            return CHECK
        due = await self._reader.submit(lambda db: lanes.next_due(db, self.name))
        times, ack_wait = self._settings.times, self._settings.ack_wait.total_seconds()
        if due is None or due > times.now():
            return IDLE if due is None else min(max(due - times.now(), 0.0), IDLE)
        lapses, token = times.elapsed() + ack_wait, secrets.token_hex(8)
        taken: list[Claim] = []

        def take(db: apsw.Connection) -> list[Claim]:
            holder, now = self._settings.holder, times.in_file(db)
            taken[:] = lanes.claim(
                db,
                self.name,
                token=token,
                holder=holder,
                now=now,
                until=now + ack_wait,
                limit=room,
                most_bytes=most_bytes,
            )
            return taken

        try:
            with self._share.asked(room) as most_bytes:
                claims = await self._writer.submit(take)
        except asyncio.CancelledError:  # the claim may happen yet; what is queued after it undoes it
            self._writer.post(lambda db: lanes.release(db, taken, times.in_file(db)))
            raise
        for claim in claims:
            delivery = SqliteDelivery(claim, self._writer, self._settings, until=lapses, over=self._settled)
            self._held.add(delivery)
            self._share.add(len(claim.body))
            claimed.append(delivery)
        return 0.0

    async def _still_ours(self, delivery: SqliteDelivery) -> bool:
        """Renew the claim of a delivery that has waited here for long. False if it may not be handed out."""
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
        self._forget(delivery)
        self._wake.set()

    def _forget(self, delivery: SqliteDelivery) -> None:
        if delivery in self._held:
            self._held.discard(delivery)
            self._share.remove(len(delivery.body))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
