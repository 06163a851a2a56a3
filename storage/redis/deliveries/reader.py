"""Reads the leased partitions into the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from kubecdc.storage.contracts import NO_FAILURES, Failures
from kubecdc.storage.memory import Share
from kubecdc.storage.redis.deliveries.in_flight import InFlight
from kubecdc.storage.redis.deliveries.lanes import Entry, Lanes
from kubecdc.storage.redis.deliveries.partition_leases import NEW, Partition, PartitionLeases
from kubecdc.storage.redis.deliveries.settings import SubscriptionSettings
from kubecdc.storage.redis_server import losses
from kubecdc.storage.redis_server.connection import BODIES_BYTES, Argument, Connection

READ = 50  # entries of a partition in one script
READ_BYTES = 1024 * 1024  # about, in one script: settlements wait behind a read, and keep their places in flight
BODIES = 50  # bodies fetched in one script


class Reader:
    """Reads more only while there is little to hand out. ``done`` is called when a read in the background has ended."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        connection: Connection,
        leases: PartitionLeases,
        lanes: Lanes,
        in_flight: InFlight,
        share: Share,
        entries: Share,
        *,
        done: Callable[[], None],
    ) -> None:
        self._enough = 2 * settings.prefetch  # entries that are ready
        self._name = settings.name
        self._now = settings.now
        self._connection = connection
        self._leases = leases
        self._lanes = lanes
        self._in_flight = in_flight
        self._share = share
        self._entries = entries
        self._done = done
        self.unread: dict[int, None] = {}  # partitions that may have more, in turn, whether or not there is room for it
        self._settled: dict[tuple[str, bytes], Entry | None] = {}  # since the read began whose answer is awaited
        self._reading: asyncio.Task[None] | None = None

    @property
    def has_more(self) -> bool:
        """There are partitions to read, and no read is under way."""
        return bool(self.unread) and not self._reading and bool(self._readable())

    def add(self, number: int) -> None:
        """The partition may have more."""
        self.unread[number] = None

    def add_all(self) -> None:
        """Any partition may have more."""
        self._have_news(self._leases.owned)

    def remove(self, number: int) -> None:
        """The partition is not ours any more."""
        self.unread.pop(number, None)

    def settled(self, entry: Entry, *, returns: bool) -> None:
        """An entry was settled, or ``returns`` to its lane. An answer that is under way may not know that."""
        self._settled[entry.at] = entry if returns else None

    async def fill(self, changed: set[int] | None) -> None:
        """Read until there is something to hand out or nothing more, and then go on in the background.

        ``changed`` are the partitions with news; None for any. Raises Unavailable.
        """
        if changed is None:
            self.add_all()
        else:
            self._have_news(sorted(self._leases.owned.keys() & changed))
        if held := self._lanes.held():
            await self._check_held(held if changed is None else [entry for entry in held if entry.due <= self._now()])
        while self._reading or self.unread:
            if self._reading is None:
                asked = self._take_unread()
                if not asked:
                    break
                if not self._lanes.ready:
                    await self._read(asked)
                    continue
                self._reading = self._read_in_background(asked)
            if self._lanes.ready and not self._reading.done():
                break  # there is enough to hand out meanwhile
            reading, self._reading = self._reading, None
            await reading
        await self._fetch_bodies()

    def _have_news(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.unread[number] = None
            self._leases.owned[number].has_news()

    def cancel(self) -> None:
        """Stop reading in the background."""
        if self._reading:
            self._reading.cancel()

    def _readable(self) -> list[Partition]:
        """The partitions to read more of. One half of the room is for any of them, the other half is shared out.

        So there is room for new events of other partitions, however long the backlog of some objects is.
        """
        if self._lanes.ready >= self._enough:
            return []
        if self._share.full and (self._lanes.ready or self._in_flight):
            return []
        owned = self._leases.owned
        unread = [owned[number] for number in self.unread if number in owned]
        if len(self._lanes) < READ:  # that much each of them may have
            return unread
        most = self._entries.limit
        if len(self._lanes) < most // 2:
            return unread
        share = max(READ, most // 2 // max(1, len(owned)))
        return [partition for partition in unread if self._lanes.of(partition.number) < share]

    def _take_unread(self) -> list[Partition]:
        """The partitions to read now. They are not unread any more."""
        asked = self._readable()
        for partition in asked:
            del self.unread[partition.number]
        return asked

    def _read_in_background(self, asked: list[Partition]) -> asyncio.Task[None]:
        reading = asyncio.create_task(self._read(asked))
        reading.add_done_callback(self._was_read)
        return reading

    def _was_read(self, reading: asyncio.Task[None]) -> None:
        if not reading.cancelled():
            reading.exception()  # the next `fill` raises it; marked as seen in case there is none
        self._done()

    async def _read(self, asked: list[Partition]) -> None:
        """Read the next entries of the partitions, in one script."""
        args: list[Argument] = []
        for partition in asked:
            args += partition.stream, partition.cursor
        sent = self._now()
        self._settled.clear()
        with self._share.asked(READ * len(asked), READ_BYTES) as size:
            leases, most = self._leases, max(1, min(READ, int(READ_BYTES / self._share.size)))
            answer = await self._connection.run("deliveries/read", leases.id, leases.token, most, size, *args)
            time, found, missing, gone = answer
        if missing or gone:
            losses.report(self._name, missing=missing, gone=gone)
        for partition in asked[len(found) :]:  # the answer had no room for them: they are next
            if self._is_ours(partition):
                self.add(partition.number)
        for partition, (_, more, ours, entries, last) in zip(asked, found, strict=False):
            if not self._is_ours(partition) or not ours:
                continue  # lost meanwhile: the next heartbeat learns of it, and the new owner finds these unsettled
            for raw in entries:
                self._add(partition, raw, time, sent)
            if partition.was_read(last, more=bool(more)):
                self.unread[partition.number] = None

    def _is_ours(self, partition: Partition) -> bool:
        return self._leases.owned.get(partition.number) is partition

    def _add(self, partition: Partition, raw: Any, time: int, now: float) -> None:
        eid, key, is_copy, committed, body, tries, failures, hold = raw
        at = partition.stream, eid
        if out := self._in_flight.entry(at):  # handed out before the partition was lost and taken again
            self._lanes.add(out)
            return
        if at in self._settled:
            if entry := self._settled[at]:
                self._lanes.add(entry)
            return
        received = 0 if partition.cursor == NEW else 1
        entry = Entry(partition.number, at, key, is_copy, committed, len(body), body, received)
        if tries:
            entry.attempts, entry.due = _tries(tries, time, now)
        if failures:
            entry.failures = _failures(failures)
        if hold:
            entry.held, entry.due = True, now + (int(hold.split()[1]) - time) / 1000
        self._lanes.add(entry)

    async def _check_held(self, held: list[Entry]) -> None:
        """Ask what became of entries that another worker had in flight when it gave their partition back."""
        if not held:
            return
        now = self._now()
        args: list[Argument] = []
        for entry in held:
            args += entry.at
        answers = await self._connection.run("deliveries/held", self._leases.id, self._leases.token, *args)
        for entry, (what, *more) in zip(held, answers, strict=True):
            if what == b"GONE":
                self._lanes.remove(entry)
            elif what == b"HELD":
                self._lanes.back(entry, now + int(more[0]) / 1000)
            elif what == b"OURS":
                entry.held = False
                (entry.attempts, due), entry.failures = _tries(more[1], int(more[0]), now), _failures(more[2])
                self._lanes.back(entry, due)

    async def _fetch_bodies(self) -> None:
        """Fetch the bodies of what is next and was kept without its body."""
        without = self._lanes.without_body(BODIES)
        if not without:
            return
        left = min(BODIES_BYTES, self._share.room)
        if not left and not self._in_flight and len(without) == min(BODIES, self._lanes.ready):
            left = 1  # whatever its size
        wanted: list[Entry] = []
        args: list[Argument] = [self._leases.id]
        for entry in without:
            if left > 0:
                wanted.append(entry)
                args += entry.at
                left -= entry.size
        if not wanted:
            return
        bodies = await self._connection.run("deliveries/bodies", *args)
        losses.report(self._name, gone=bodies.count(None))
        for entry, body in zip(wanted, bodies, strict=True):
            if body is None:
                self._lanes.remove(entry)
            else:
                self._lanes.fill(entry, body)


def _tries(text: bytes, time: int, now: float) -> tuple[int, float]:
    """The number of attempts and when the entry is due, as the scripts store them."""
    if not text:
        return 0, 0.0
    attempts, due = text.split()
    return int(attempts), now + (int(due) - time) / 1000 if int(due) > time else 0.0


def _failures(text: bytes) -> Failures:
    """What a nack kept, as the scripts store it."""
    return Failures(*map(int, text.split())) if text else NO_FAILURES
