"""The partitions of a subscription that a worker has: leases that it renews, shared out evenly among the workers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts.errors import NoSubscription
from kubecdc.storage.redis.commits.publisher import stream_name
from kubecdc.storage.redis.deliveries.settings import SubscriptionSettings
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.redis_server.registrations import Registrations

HEARTBEAT = 1.0  # seconds between two heartbeats
NEW = b">"


@dataclass(eq=False, slots=True)
class Partition:
    """A partition from the time that we take it until we lose it.

    Its ``streams`` are read to their ends in turn, at first that of the newest entry last. Those of earlier entries get
    new events while another process has these. ``cursor`` is where to read on in the first stream.
    """

    number: int
    streams: list[str]
    cursor: bytes = b"0"  # first, what any worker has read and nobody has settled
    begun: int = 1  # streams, this one included
    left: int = field(init=False)  # streams to read to their ends, this one included

    def __post_init__(self) -> None:
        self.left = len(self.streams)

    @property
    def stream(self) -> str:
        """The stream that is being read."""
        return self.streams[0]

    def has_news(self) -> None:
        """Any of its streams may have new events. The answer of a read that is under way may not know them."""
        if len(self.streams) > 1:
            self.left = len(self.streams) + 1

    def was_read(self, last: bytes, *, more: bool) -> bool:
        """Go on after what was read. ``more``: there may be more like it. Returns whether there may be more at all."""
        if self.cursor != NEW:
            self.cursor = last if more else NEW
            return True
        if more or len(self.streams) == 1:
            return more
        self.streams.append(self.streams.pop(0))
        self.left -= 1
        if self.begun < len(self.streams):
            self.begun += 1
            self.cursor = b"0"
        return self.left > 0


class PartitionOwner(Protocol):
    """Uses the partitions that are leased."""

    def taken(self, partition: Partition) -> None:
        """The partition is ours now."""
        ...

    def lost(self, numbers: Collection[int]) -> None:
        """The partitions are not ours any more: nothing more of them may be handed out."""
        ...

    def in_flight(self, number: int) -> list[tuple[str, bytes, float]]:
        """What of a partition is handed out, as stream and id, each with the seconds that its claim still holds."""
        ...


class PartitionLeases:
    """The leases of one open subscription."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        connection: Connection,
        registrations: Registrations,
        owner: PartitionOwner,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._registrations = registrations
        self._owner = owner
        self._now = settings.now
        self._lock = asyncio.Lock()
        self.stale_after = float("-inf")  # then half of the time has passed until other workers may take our partitions
        self._left = False
        self._unsure = False  # an answer of the server was lost
        self._failure: Unavailable | None = None  # the last
        self._run = b""  # of the server
        self.token = secrets.token_hex(8)
        self.id = 0  # of the subscription, while it is registered
        self._entries: list[str] = []  # that it reads
        self.owned: dict[int, Partition] = {}

    @property
    def pause(self) -> float:
        """Seconds until the next heartbeat. Those of the subscriptions of a process are not sent all at once."""
        settings = self._settings
        return min(HEARTBEAT * settings.crowd, settings.ack_wait / 4) * settings.rng.uniform(0.8, 1.0)

    async def run(self) -> None:
        """Send heartbeats. Never returns."""
        while True:
            await asyncio.sleep(self.pause)
            with suppress(KubecdcError):  # the next read reports it
                await self.heartbeat()

    async def heartbeat(self) -> None:
        """Keep our partitions, take free ones up to our share, give back those above it.

        Raises NoSubscription, Unavailable.
        """
        before = self._failure
        async with self._lock:
            if self._failure is not before and self._failure:
                raise self._failure  # of the heartbeat that we waited for: another would take as long to fail
            if self._left:
                return
            sent = self._now()
            s = self._settings
            args = (s.name, self.token, s.holder, int(s.ack_wait * 1000), s.partitions)
            unsure, self._unsure = self._unsure, True
            try:
                answer = await self._connection.run("deliveries/heartbeat", *args)
            except Unavailable as e:
                self._failure = e
                raise
            if not answer:
                self.forget()
                self.id = 0
                await self._registrations.restore()  # for the next time, unless it was pruned
                raise NoSubscription.of(s.name)
            id_, share, mine, fresh, run, numbers = answer
            entries = [number.decode() for number in numbers]
            # A server that was restarted may have lost what it had told us: settled events are unsettled then.
            unsure = unsure or run != self._run
            self._run = run
            if int(id_) != self.id or entries != self._entries:
                self._lose(list(self.owned))
                self.id, self._entries = int(id_), entries
            self.stale_after = sent + s.ack_wait / 2
            self._unsure = False
            kept = set[int]() if unsure else set(mine).difference(fresh)
            self._lose([number for number in self.owned if number not in kept])
            for number in mine:
                if number not in self.owned:
                    self._take(number)
            if len(mine) > share:
                idle_first = sorted(mine, key=lambda number: len(self._owner.in_flight(number)))
                await self._release(idle_first[: len(mine) - share], leave=False)

    async def leave(self) -> None:
        """Give all partitions back. What is handed out stays claimed for as long as it was."""
        async with self._lock:
            if self._left:
                return
            self._left = True
            with suppress(KubecdcError):  # then the leases lapse
                if not self.id and self._unsure:  # it was cancelled in its first heartbeat, which may have taken some
                    self.id = int(await self._connection.keyed("HGET", "subscriptions", self._settings.name) or 0)
                await self._release(list(self.owned), leave=True)

    def forget(self) -> None:
        """The leases are gone with the subscription: hand out nothing before the next heartbeat."""
        self._lose(list(self.owned))
        self.stale_after = float("-inf")

    def restart(self) -> None:
        """An answer was lost, so that it is unknown what was read: read again what is not settled."""
        numbers = list(self.owned)
        self._lose(numbers)
        for number in numbers:
            self._take(number)

    async def _release(self, numbers: list[int], *, leave: bool) -> None:
        args: list[Argument] = [self.id, self.token, int(leave), len(numbers), *numbers]
        for number in numbers:
            for stream, eid, left in self._owner.in_flight(number):
                args += [stream, eid, max(0, int(left * 1000))]
        self._lose(numbers)
        await self._connection.run("deliveries/release", *args)

    def _take(self, number: int) -> None:
        partition = Partition(number, [stream_name(entry, number) for entry in self._entries])
        self.owned[number] = partition
        self._owner.taken(partition)

    def _lose(self, numbers: list[int]) -> None:
        if lost := {number for number in numbers if self.owned.pop(number, None)}:
            self._owner.lost(lost)
