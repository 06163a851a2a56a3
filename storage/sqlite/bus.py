"""The bus on SQLite, with all its parts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import partial

import apsw

from kubecdc.storage.contracts import (
    Capabilities,
    Replay,
    Replayable,
    StateStore,
    SubscriptionSpec,
    SubscriptionStatus,
)
from kubecdc.storage.contracts.deliveries import KEPT_SECONDS
from kubecdc.storage.ensure import ensure_registered
from kubecdc.storage.sqlite.administration import registrations, replays
from kubecdc.storage.sqlite.administration.dead_letters import SqliteDeadLetters
from kubecdc.storage.sqlite.administration.retention import STEP, Retention
from kubecdc.storage.sqlite.clock import BusClock
from kubecdc.storage.sqlite.commits.checkpoints import SqliteCheckpoints
from kubecdc.storage.sqlite.commits.elector import SqliteElector
from kubecdc.storage.sqlite.commits.publisher import SqlitePublisher
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.notifier import Notifier
from kubecdc.storage.sqlite.deliveries.presence import Presence
from kubecdc.storage.sqlite.deliveries.settings import SubscriptionSettings
from kubecdc.storage.sqlite.deliveries.state import SqliteState
from kubecdc.storage.sqlite.deliveries.subscription import SqliteSubscription
from kubecdc.storage.sqlite.file.reader import LOOK, Reader
from kubecdc.storage.sqlite.file.thread import Condition
from kubecdc.storage.sqlite.file.writer import Writer
from kubecdc.storage.sqlite.settings import SqliteSettings

CAPABILITIES = Capabilities(
    order=True,
    atomic_commit=True,
    delayed_nack=True,
    attempts=True,
    replay=True,
    dead_letter_browse=True,
    max_event_bytes=64 * 1024 * 1024,
    exactly_once_publish=True,
    never_back=True,
    keeps=True,
)


class SqliteBus:
    """`storage.contracts.Bus`: one file, shared by any number of processes of one machine."""

    def __init__(self, settings: SqliteSettings, *, holder: str, times: BusClock, rng: random.Random) -> None:
        self._settings = settings
        self._holder = holder
        self._times = times
        self._clock = clock = times.now
        self._rng = rng
        self._registered: dict[str, SubscriptionSpec] = {}
        self._told = 0.0  # when `keep` was called before
        self._notifier = Notifier()
        condition = Condition()
        self._writer = Writer(settings, rng, condition)
        self._reader = Reader(settings, rng, condition, self._due_soon, self._notifier.notify)
        self._presence = Presence(self._writer, holder, times)
        self.capabilities = CAPABILITIES
        self.ack_wait = settings.ack_wait
        self.publisher = SqlitePublisher(self._writer, self._notifier, times, max_pending=settings.max_pending)
        self.checkpoints = SqliteCheckpoints(self._writer, self._reader)
        self.state = SqliteState(self._writer, self._reader, times)
        self.dead_letters = SqliteDeadLetters(
            self._writer, self._reader, self._notifier, max_pending=settings.max_pending, clock=clock
        )
        self.retention = Retention(settings, self._writer, times)
        self.elector = SqliteElector(settings, self._writer, self.retention, holder)

    def _due_soon(self, db: apsw.Connection) -> Sequence[str]:
        """The subscriptions to wake: they look for themselves when it is time."""
        return lanes.due_by(db, self._times.in_file(db) + LOOK)

    async def open(self) -> None:
        """Open or create the file. Raises UsageError, Refused, Unavailable."""
        await self._writer.open()
        try:
            await self._reader.open()
            await self._times.begin(self._writer)
        except BaseException:
            await self._writer.close()
            raise

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        wanted = list(specs)
        await self._writer.submit(lambda db: registrations.register(db, wanted, self._holder, self._times.in_file(db)))
        self._registered |= {spec.name: spec for spec in wanted}

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._times.follow(self._writer)
        kept, now = list(specs), self._clock()
        # Counted from the call before too, so that a clock that jumps ends nobody.
        since = min(now, self._told) - KEPT_SECONDS
        await self._writer.submit(lambda db: registrations.keep(db, kept, self._holder, now=now, alive_since=since))
        self._told = now

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        return await ensure_registered(self, specs, dry_run=dry_run)

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        return await self._reader.submit(lambda db: registrations.statuses(db, self._times.in_file(db)))

    async def prune(self, name: str) -> bool:
        """Works in small steps. If it is interrupted, the leader's retention does the rest."""
        found = await self._writer.submit(lambda db: registrations.end(db, name))
        while found and await self._writer.submit(lambda db: registrations.drop_backlog(db, STEP)):
            pass
        return found

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> SqliteSubscription:
        settings = SubscriptionSettings(
            name=name,
            prefetch=prefetch,
            holder=self._holder,
            ack_wait=self.ack_wait,
            times=self._times,
            rng=self._rng,
        )
        return SqliteSubscription(settings, self._writer, self._reader, self._notifier, self._presence)

    async def replayable(self, replay: Replay) -> Replayable:
        return (await self._reader.submit(lambda db: replays.find(db, replay))).replayable

    async def replay(self, replay: Replay) -> int:
        """Copies whole objects at a time, so that what is committed meanwhile comes after its object's older events."""
        plan = await self._reader.submit(lambda db: replays.find(db, replay))
        plan.require_room(self._settings.max_pending)
        done, now = 0, self._clock()
        for step in plan.steps(STEP):
            copied, newer = await self._writer.submit(partial(replays.copy, plan=plan, step=step, now=now))
            plan.newer.add(newer)
            done += copied
            self._notifier.notify({plan.name})
        return done

    async def close(self) -> None:
        """Finish what was submitted and close the file. Open `deliveries` end."""
        await self._presence.close()
        if self._registered:
            specs = list(self._registered.values())
            self._writer.post(lambda db: registrations.leave(db, specs, self._holder))
        await self._reader.close()
        await self._writer.close()
        self._notifier.notify()
