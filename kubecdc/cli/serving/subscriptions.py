"""What a bus knows of its subscriptions, read when somebody scrapes, and exported by one process of the bus.

All processes would export the same numbers, and sums over replicas would count them several times. So one that is
scraped claims them in the state that the processes share, and keeps them while it is scraped. Where there is no such
state, or one that takes rare changes only, or where a service estimates the numbers, the leader has them.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

import structlog

from kubecdc.errors import KubecdcError
from kubecdc.metrics import ONE, Gauge, Series
from kubecdc.storage.contracts import Bus, StateEntry, SubscriptionStatus
from kubecdc.storage.shared_state import change
from kubecdc.watcher import metrics as watcher

log = structlog.get_logger()
PLACE = ("bus", "exporter")  # scope and key of the claim
CLAIM_SECONDS = 20.0  # for which nobody else may have it
SCRAPED_SECONDS = 150.0  # without a scrape, it is given up: Prometheus asks once a minute, or more often
OLD_SECONDS = 30.0  # numbers that could not be read again for so long are exported no more
PAUSE_SECONDS = 60.0  # between two looks at a bus that only estimates, and asks a service for each subscription
SHARE = 10  # times as long as a look has taken, the next one waits, but not longer than `PAUSE_SECONDS`

LABELS = ("bus", "subscription")
PENDING = Gauge("kubecdc_pending_events", "Events not yet acked or dead-lettered", LABELS, by=ONE)
OLDEST = Gauge(
    "kubecdc_oldest_pending_age_seconds",
    "Seconds since the oldest event that is not acked was committed; 0 if there is none",
    LABELS,
    by=ONE,
)
LETTERS = Gauge("kubecdc_dead_letters", "Dead letters that are kept now", LABELS, by=ONE)
AGE = Gauge(
    "kubecdc_subscriptions_age_seconds",
    "Seconds since the numbers of the subscriptions were read; "
    "after a while, numbers that cannot be read again are left out",
    ["bus"],
    by=ONE,
)


class Subscriptions:
    """The numbers of one bus. ``wall`` has the seconds since 1970, ``now`` is a monotonic clock."""

    def __init__(
        self,
        name: str,
        bus: Bus,
        series: Series,
        *,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._bus = bus
        self._wall = wall
        self._now = now
        self._me = secrets.token_hex(8).encode()
        self._claimed = -math.inf  # when the claim was renewed
        self._scraped = -math.inf
        self._read = -math.inf  # when the numbers were read
        self._due = -math.inf  # when they are read again, at the earliest
        self._found: list[SubscriptionStatus] = []
        self._reading: asyncio.Task[None] | None = None
        series.read_all(PENDING, lambda: self._numbers(_pending))
        series.read_all(OLDEST, lambda: self._numbers(self._oldest))
        series.read_all(LETTERS, lambda: self._numbers(_letters))
        series.read_all(AGE, self._ages)

    async def refresh(self) -> None:
        """Somebody scrapes: read the numbers, if this process exports them and they may have changed.

        Cancelling it stops nothing: there is one look at a time, whoever waits.
        """
        self._scraped = self._now()
        if self._reading is None and self._scraped >= self._due:
            self._reading = asyncio.create_task(self._look())
        if self._reading is not None:
            await asyncio.shield(self._reading)

    async def keep(self) -> None:
        """Keep the claim between scrapes. Never returns; gives it up when it is cancelled."""
        try:
            while True:
                await asyncio.sleep(CLAIM_SECONDS / 3)
                await self.renew()
        finally:
            if self._is_mine:
                with suppress(KubecdcError, TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._give_up()

    async def renew(self) -> None:
        """Renew the claim, if this process has it and was scraped lately."""
        if self._is_mine and self._now() - self._scraped < SCRAPED_SECONDS:
            with suppress(KubecdcError):  # the next time, or the next scrape, tries again
                await self._claim()

    async def _look(self) -> None:
        begun = self._now()
        try:
            if await self._exports():
                self._found = await self._bus.subscriptions()
                self._read = now = self._now()
                exact = self._bus.capabilities.counts
                self._due = now + (min((now - begun) * SHARE, PAUSE_SECONDS) if exact else PAUSE_SECONDS)
        except KubecdcError as e:  # those who need the bus tell of it
            log.debug(
                "the subscriptions cannot be read for the metrics",
                code="subscriptions-unread",
                bus=self._name,
                reason=str(e),
            )
        finally:
            self._reading = None

    async def _exports(self) -> bool:
        """Whether this process exports the numbers. Raises Unavailable."""
        if not self._shares_state:
            return self._name in watcher.leading
        if self._now() - self._claimed > CLAIM_SECONDS / 3:
            await self._claim()
        return self._is_mine

    @property
    def _shares_state(self) -> bool:
        """Where a bus only estimates, to read the numbers may take rights that workers do not have."""
        can = self._bus.capabilities
        return can.counts and can.state and self._bus.state.frequent

    @property
    def _is_mine(self) -> bool:
        return self._now() - self._claimed < CLAIM_SECONDS

    async def _claim(self) -> None:
        begun = self._now()

        def decide(found: StateEntry | None) -> bytes | None:
            return self._me if found is None or found.value in {self._me, b""} else None

        ttl = timedelta(seconds=CLAIM_SECONDS)
        found = await change(self._bus.state, *PLACE, decide, ttl=ttl)
        self._claimed = begun if found and found.value == self._me else -math.inf

    async def _give_up(self) -> None:
        self._claimed = -math.inf
        ttl = timedelta(seconds=CLAIM_SECONDS)
        await change(self._bus.state, *PLACE, lambda e: b"" if e and e.value == self._me else None, ttl=ttl)

    @property
    def _current(self) -> bool:
        """The numbers may be exported. For any thread."""
        mine = self._is_mine if self._shares_state else self._name in watcher.leading
        return mine and self._now() < max(self._read, self._due) + OLD_SECONDS

    def _numbers(self, of: Callable[[SubscriptionStatus], float | None]) -> Mapping[tuple[str, ...], float]:
        if not self._current:
            return {}
        found = ((status.spec.name, of(status)) for status in self._found)
        return {(self._name, name): value for name, value in found if value is not None}

    def _oldest(self, status: SubscriptionStatus) -> float | None:
        """It grows while the numbers cannot be read."""
        if status.oldest is None:
            return 0.0
        return max(0.0, self._wall() - status.oldest) if isinstance(status.oldest, float) else None

    def _ages(self) -> Mapping[tuple[str, ...], float]:
        return {(self._name,): self._now() - self._read} if self._current else {}


def _pending(status: SubscriptionStatus) -> float | None:
    return status.pending if isinstance(status.pending, int) else None


def _letters(status: SubscriptionStatus) -> float | None:
    return status.dead_letters if isinstance(status.dead_letters, int) else None
