"""The bus on RQ, with all its parts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable

from rq.defaults import RQ_KEY_PREFIX

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import (
    Capabilities,
    Replay,
    Replayable,
    StateStore,
    SubscriptionSpec,
    SubscriptionStatus,
)
from kubecdc.storage.ensure import ensure_registered
from kubecdc.storage.redis_server.checkpoints import RedisCheckpoints
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.redis_server.elector import RedisElector
from kubecdc.storage.redis_server.notifier import Notifier
from kubecdc.storage.redis_server.registrations import Registrations, require_format
from kubecdc.storage.redis_server.settings import ServerSettings
from kubecdc.storage.redis_server.state import RedisState
from kubecdc.storage.rq.administration import subscriptions
from kubecdc.storage.rq.administration.dead_letters import RqDeadLetters
from kubecdc.storage.rq.administration.housekeeping import Housekeeping
from kubecdc.storage.rq.commits.publisher import RqPublisher
from kubecdc.storage.rq.deliveries.running_job import RunningJob
from kubecdc.storage.rq.deliveries.settings import SubscriptionSettings
from kubecdc.storage.rq.deliveries.subscription import RqSubscription

SCRIPTS = "kubecdc.storage.rq"  # the package that has the scripts of this bus
FORMAT = 1  # of the keys
STREAMS = 0  # recorded in the bus, where a bus on streams has the number of its partitions
CAPABILITIES = Capabilities(
    order=True,
    atomic_commit=True,
    delayed_nack=True,
    attempts=True,
    replay=False,
    dead_letter_browse=True,
    max_event_bytes=16 * 1024 * 1024,
    exactly_once_publish=True,
    never_back=True,
    keeps=True,
)


class RqBus:
    """`storage.contracts.Bus`: a queue of RQ for each subscription, and all the rest beside them in the same Redis."""

    def __init__(
        self, settings: ServerSettings, *, holder: str, rng: random.Random, now: Callable[[], float] | None
    ) -> None:
        self._settings = settings
        self._holder = holder
        self._rng = rng
        self._connection = connection = Connection(settings, SCRIPTS)
        self._notifier = Notifier(connection)
        self._opened: set[asyncio.Event] = set()
        self.capabilities = CAPABILITIES
        self.ack_wait = settings.ack_wait
        lanes = f"kubecdc:{settings.name}:"
        self._registrations = registrations = Registrations(connection, holder, STREAMS, FORMAT, RQ_KEY_PREFIX)
        self.publisher = RqPublisher(connection, registrations, lanes=lanes, max_pending=settings.max_pending)
        self.checkpoints = RedisCheckpoints(connection)
        self.state = RedisState(connection)
        self.dead_letters = RqDeadLetters(connection, max_pending=settings.max_pending)
        self.housekeeping = Housekeeping(connection, lanes=lanes, ack_wait=settings.ack_wait)
        self.elector = RedisElector(connection, self.housekeeping.run, settings.lead, holder, now or time.monotonic)

    async def open(self, *, create: bool) -> None:
        """Find the bus, or create it. Raises UsageError, Refused, Unavailable."""
        try:
            await self._connection.check()
            await self._connection.require_rights()
            found = await self._connection.run("administration/open", STREAMS, FORMAT, int(create), RQ_KEY_PREFIX)
            self._require_same(*found)
        except BaseException:
            await self._connection.close()
            raise

    def _require_same(self, form: bytes | None, streams: bytes, prefix: bytes | None) -> None:
        name, place = self._settings.name, self._settings.place
        if form is not None and (int(streams) != STREAMS or prefix is None):
            raise UsageError(
                f"bus {name!r} in {place} is a redis bus, not an rq bus",
                hint="give the bus another name, or its Redis another database",
            )
        require_format(form, FORMAT, name, place)
        if prefix is not None and prefix.decode() != RQ_KEY_PREFIX:
            raise UsageError(
                f"bus {name!r} was made with RQ_KEY_PREFIX={prefix.decode()}, and it is {RQ_KEY_PREFIX} here",
                hint="set RQ_KEY_PREFIX to the same value wherever kubecdc or RQ runs",
            )

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._registrations.register(specs)

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._registrations.keep(specs)

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        return await ensure_registered(self, specs, dry_run=dry_run)

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        return await subscriptions.statuses(self._connection)

    async def prune(self, name: str) -> bool:
        return await subscriptions.prune(self._connection, name)

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> RqSubscription:
        settings = SubscriptionSettings(name, prefetch, self._holder, self.ack_wait.total_seconds(), self._rng)
        return RqSubscription(settings, self._connection, self._registrations, self._notifier, self._opened)

    def running(self, job: str, worker: str, subscription: str) -> RunningJob:
        """A job of the subscription that a worker of RQ has begun."""
        return RunningJob(self._connection, job, worker, subscription, self.ack_wait.total_seconds())

    async def replayable(self, replay: Replay) -> Replayable:
        raise UsageError("an rq bus keeps no settled events, so it cannot replay any")

    async def replay(self, replay: Replay) -> int:
        raise UsageError("an rq bus keeps no settled events, so it cannot replay any")

    async def close(self) -> None:
        """Open `deliveries` end. Other workers can have what they have not handed out."""
        self._connection.end()
        self._notifier.notify()
        await self._notifier.close()
        await asyncio.gather(self._registrations.leave(), *(ended.wait() for ended in self._opened))
        await self._connection.close()
