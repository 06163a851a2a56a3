"""The bus on Redis Streams, with all its parts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable

from kubecdc.counts import counted
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
from kubecdc.storage.redis.administration import registrations as registry
from kubecdc.storage.redis.administration import replays
from kubecdc.storage.redis.administration.ages import Ages
from kubecdc.storage.redis.administration.dead_letters import RedisDeadLetters
from kubecdc.storage.redis.administration.retention import Retention
from kubecdc.storage.redis.commits.publisher import RedisPublisher
from kubecdc.storage.redis.deliveries.partition_leases import PartitionLeases
from kubecdc.storage.redis.deliveries.settings import SubscriptionSettings
from kubecdc.storage.redis.deliveries.subscription import RedisSubscription
from kubecdc.storage.redis.settings import SCRIPTS, RedisSettings
from kubecdc.storage.redis_server.checkpoints import RedisCheckpoints
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.redis_server.elector import RedisElector
from kubecdc.storage.redis_server.notifier import Notifier
from kubecdc.storage.redis_server.registrations import TOGETHER, Registrations, require_format
from kubecdc.storage.redis_server.state import RedisState

FORMAT = 2  # of the keys
CAPABILITIES = Capabilities(
    order=True,
    atomic_commit=True,
    delayed_nack=True,
    attempts=True,
    replay=True,
    dead_letter_browse=True,
    max_event_bytes=16 * 1024 * 1024,
    exactly_once_publish=True,
    never_back=True,
    keeps=True,
)


class RedisBus:
    """`storage.contracts.Bus`: streams in one Redis, shared by any number of processes."""

    def __init__(
        self, settings: RedisSettings, *, holder: str, rng: random.Random, now: Callable[[], float] | None
    ) -> None:
        self._settings = settings
        self._holder = holder
        self._rng = rng
        self._now = now or time.monotonic
        self._connection = connection = Connection(settings, SCRIPTS)
        self._notifier = Notifier(connection)
        self._opened: set[PartitionLeases] = set()
        partitions, max_pending = settings.partitions, settings.max_pending
        self.capabilities = CAPABILITIES
        self.ack_wait = settings.ack_wait
        self._registrations = registrations = Registrations(connection, holder, partitions, FORMAT)
        self.publisher = RedisPublisher(connection, registrations, partitions=partitions, max_pending=max_pending)
        self.checkpoints = RedisCheckpoints(connection)
        self.state = RedisState(connection)
        self.dead_letters = RedisDeadLetters(connection, partitions=partitions, max_pending=max_pending)
        self.retention = Retention(settings, connection)
        self._ages = Ages(connection, partitions)
        self.elector = RedisElector(connection, self.retention.run, settings.lead, holder, self._now)

    async def open(self, *, create: bool) -> None:
        """Find the bus, or create it. Raises UsageError, Refused, Unavailable."""
        try:
            await self._connection.check()
            await self._connection.require_rights()
            wanted = self._settings.partitions
            found = await self._connection.run("administration/open", wanted, FORMAT, int(create))
            require_format(found[0], FORMAT, self._settings.name, self._settings.place)
            if int(found[1]) != wanted:
                raise UsageError(
                    f"bus {self._settings.name!r} was made with {counted(int(found[1]), 'partition')}, not {wanted}",
                    hint="set `partitions` back (another number would break the order), or give the bus another name",
                )
            while await self._connection.run("administration/migrate", wanted, TOGETHER, FORMAT):
                pass
        except BaseException:
            await self._connection.close()
            raise

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._registrations.register(specs)

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._registrations.keep(specs)

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        return await ensure_registered(self, specs, dry_run=dry_run)

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        return await registry.statuses(self._connection, self._ages if ages else None)

    async def prune(self, name: str) -> bool:
        return await registry.prune(self._connection, name, self._settings.partitions)

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> RedisSubscription:
        settings = SubscriptionSettings(
            name=name,
            prefetch=prefetch,
            holder=self._holder,
            partitions=self._settings.partitions,
            ack_wait=self.ack_wait.total_seconds(),
            now=self._now,
            rng=self._rng,
        )
        return RedisSubscription(settings, self._connection, self._registrations, self._notifier, self._opened)

    async def replayable(self, replay: Replay) -> Replayable:
        return (await replays.find(self._connection, replay, self._settings.partitions)).replayable

    async def replay(self, replay: Replay) -> int:
        """Copies whole objects at a time, so that what is committed meanwhile comes after its object's older events."""
        plan = await replays.find(self._connection, replay, self._settings.partitions)
        plan.require_room(self._settings.max_pending)
        return sum([await replays.copy(self._connection, plan, partition) for partition in plan.partitions])

    async def close(self) -> None:
        """Open `deliveries` end. Other workers can have what they have not handed out."""
        self._connection.end()
        self._notifier.notify()
        await self._notifier.close()
        await asyncio.gather(self._registrations.leave(), *(leases.leave() for leases in self._opened))
        await self._connection.close()
