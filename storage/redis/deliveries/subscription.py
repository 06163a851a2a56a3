"""Reads the partitions that are ours and hands out what is due, at most ``prefetch`` unsettled at a time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.redis.administration import registrations as registry
from kubecdc.storage.redis.administration.registrations import Registrations
from kubecdc.storage.redis.deliveries.delivery import RedisDelivery
from kubecdc.storage.redis.deliveries.lanes import Entry, Lanes
from kubecdc.storage.redis.deliveries.notifier import Bell, Listener
from kubecdc.storage.redis.deliveries.partition_leases import NEW, Leases, Partition
from kubecdc.storage.redis.deliveries.settler import Settler
from kubecdc.storage.redis.server.connection import BODIES_BYTES, Argument, Connection

log = structlog.get_logger()
LOOK = 1.0  # seconds without a ring after which a listener looks anyway
RETRY = Backoff(duration=0.1, cap=5.0)
READ = 50  # entries of a partition at a time
READ_BYTES = 1024 * 1024  # in all, about: settlements wait behind a read, and hold places in flight
READ_AHEAD = 50_000  # entries that wait here, about: behind one object's backlog there may be other objects' events
BODIES = 50  # read again at a time


class RedisSubscription:
    """`storage.contracts.Subscription`."""

    def __init__(
        self,
        name: str,
        connection: Connection,
        bell: Bell,
        registrations: Registrations,
        *,
        prefetch: int,
        holder: str,
        partitions: int,
        ack_wait: float,
        now: Callable[[], float],
        rng: random.Random,
        opened: set[Leases],
    ) -> None:
        self.name = name
        self._connection = connection
        self._bell = bell
        self._registrations = registrations
        self._prefetch = prefetch
        self._holder = holder
        self._partitions = partitions
        self._ack_wait = ack_wait
        self._now = now
        self._rng = rng
        self._opened = opened

    async def deliveries(self) -> AsyncIterator[RedisDelivery]:
        """Ends when the bus is closed."""
        worker = _Worker(self)
        beating = asyncio.create_task(worker.leases.run())
        self._opened.add(worker.leases)
        failures = 0
        try:
            with self._bell.listen(worker.listener):
                while not self._connection.ending:
                    worker.wake.clear()
                    try:
                        await worker.fill()
                        if failures:
                            log.info("recovered", name=self.name)
                        failures = 0
                    except Unavailable as e:
                        failures += 1
                        worker.leases.restart()
                        if self._connection.ending:
                            break
                        if failures == 1:
                            log.warning("cannot read the subscription", name=self.name, error=str(e), hint=e.hint)
                        await asyncio.sleep(RETRY.delay(failures, self._rng))
                        continue
                    while delivery := worker.next():
                        yield delivery
                    await worker.wait()
        finally:
            beating.cancel()
            worker.cancel()
            await worker.leases.leave()
            self._opened.discard(worker.leases)

    async def registered(self) -> SubscriptionSpec | None:
        return await registry.registered(self._connection, self.name)


class _Worker:
    """One open iterator: its leases, what it has read, what is handed out."""

    def __init__(self, of: RedisSubscription) -> None:
        self._of = of
        self._connection = of._connection
        self._now = of._now
        self._lanes = Lanes()
        self._out: dict[tuple[int, bytes], RedisDelivery] = {}
        self._unread: dict[int, None] = {}  # partitions that may have more, in turn
        self._settled: dict[tuple[int, bytes], Entry | None] = {}  # while an answer is on its way, which is older
        self._reading: asyncio.Task[None] | None = None
        self._first_lapse = math.inf  # no claim lapses before
        self.listener = Listener()
        self.wake = self.listener.wake
        self.leases = Leases(
            of._connection,
            of._registrations,
            self,
            name=of.name,
            holder=of._holder,
            partitions=of._partitions,
            ack_wait=of._ack_wait,
            now=of._now,
        )
        self._settler = Settler(of._connection, self.leases.token, self.leases.forget)

    async def fill(self) -> None:
        """Read until there is something to hand out or nothing more, and go on beside it. Raises Unavailable."""
        self._let_lapse()
        if self.leases.stale:
            await self.leases.beat()
        heard = self.listener.heard()
        owned = self.leases.owned
        self._unread.update(dict.fromkeys(owned if heard is None else sorted(owned.keys() & heard)))
        held = self._lanes.held()
        if due := held if heard is None else [entry for entry in held if entry.due <= self._now()]:
            await self._look_after(due)
        while self._reading or self._readable():
            if self._lanes.ready:
                self._reading = self._reading or self._read_beside()
                if not self._reading.done():
                    break  # there is enough to do meanwhile
            if self._reading:
                reading, self._reading = self._reading, None
                await reading
            else:
                await self._read()
        await self._read_bodies()

    def next(self) -> RedisDelivery | None:
        """What to hand out next, if there is anything and room for it."""
        if len(self._out) >= self._of._prefetch or self.leases.stale or self._connection.ending:
            return None
        for entry in self._lanes.due(self._now()):
            if entry.body is None:
                self._lanes.back(entry, entry.due)
                return None
            entry.out = True
            delivery = RedisDelivery(
                entry,
                entry.body,
                self._settler,
                self,
                subscription=self.leases.id,
                ack_wait=self._of._ack_wait,
                now=self._now,
            )
            self._out[entry.part, entry.eid] = delivery
            self._first_lapse = min(self._first_lapse, delivery.until)
            return delivery
        return None

    async def wait(self) -> None:
        """Until something may have changed."""
        now = self._now()
        times = [now + LOOK, self._first_lapse]
        if self._room:
            if self._lanes.ready or (self._readable() and not self._reading):
                return
            if self._lanes.next_due is not None:
                times.append(self._lanes.next_due)
        timer = asyncio.get_running_loop().call_later(max(0.0, min(times) - now), self._look)
        try:
            await self.wake.wait()
        finally:
            timer.cancel()

    def _look(self) -> None:
        """Nothing was heard for a while."""
        if self._room:
            self._unread.update(dict.fromkeys(self.leases.owned))
        self.wake.set()

    def taken(self, partition: Partition) -> None:
        self._unread[partition.number] = None
        self.wake.set()

    def lost(self, number: int) -> None:
        self._unread.pop(number, None)
        self._lanes.drop(number)
        self.wake.set()

    def in_flight(self, number: int) -> list[tuple[bytes, float]]:
        return [(eid, delivery.left) for (part, eid), delivery in self._out.items() if part == number]

    def over(self, delivery: RedisDelivery, delay: float | None) -> None:
        entry, full = delivery.entry, not self._room
        if self._out.get((entry.part, entry.eid)) is delivery:
            del self._out[entry.part, entry.eid]
        self._settled[entry.part, entry.eid] = None if delay is None else entry
        if delay is None:
            self._lanes.remove(entry)
        else:
            entry.received += 1
            self._lanes.back(entry, self._now() + delay)
        if full or self._lanes:
            self.wake.set()

    def _read_beside(self) -> asyncio.Task[None]:
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(self._was_read)
        return reading

    def _was_read(self, reading: asyncio.Task[None]) -> None:
        if not reading.cancelled():
            reading.exception()  # `fill` raises it, unless there is no next time
        self.wake.set()

    def cancel(self) -> None:
        """Read no further. What the server has handed out to us stays unsettled, and whoever is next begins with it."""
        if self._reading:
            self._reading.cancel()

    def _let_lapse(self) -> None:
        now = self._now()
        if now <= self._first_lapse:
            return
        for delivery in [delivery for delivery in self._out.values() if delivery.until < now]:
            delivery.lapse()
        self._first_lapse = min((delivery.until for delivery in self._out.values()), default=math.inf)

    @property
    def _room(self) -> bool:
        return len(self._out) < self._of._prefetch

    def _readable(self) -> list[Partition]:
        """The partitions to read more of. Half of the room is anybody's, the other half is shared out.

        So the backlogs of some objects, however long, leave room for what comes in other partitions.
        """
        if not self._unread:
            return []
        if self._lanes.ready >= 2 * self._of._prefetch or (self._lanes.ready and self._lanes.full):
            return []
        unread = [self.leases.owned[number] for number in self._unread if number in self.leases.owned]
        if len(self._lanes) < READ_AHEAD // 2:
            return unread
        share = max(READ, READ_AHEAD // 2 // max(1, len(self.leases.owned)))
        return [partition for partition in unread if self._lanes.of(partition.number) < share]

    async def _read(self) -> None:
        """One script: the next entries of the partitions that may have more."""
        asked = self._readable()
        args: list[Argument] = []
        for partition in asked:
            del self._unread[partition.number]
            args += [partition.number, partition.cursor]
        if not args:
            return
        sent = self._now()
        self._settled.clear()
        answer = await self._connection.run(
            "deliveries/read", self.leases.id, self.leases.token, READ, READ_BYTES, *args
        )
        time, found = answer
        for partition in asked[len(found) :]:  # there was no room for them: it is their turn
            if self.leases.owned.get(partition.number) is partition:
                self._unread[partition.number] = None
        for partition, (number, more, ours, entries, *last) in zip(asked, found, strict=False):
            if self.leases.owned.get(int(number)) is not partition or not ours:
                continue  # lost meanwhile: the next beat knows, and whoever has it finds these entries unsettled
            for raw in entries:
                self._add(partition, raw, int(time), sent)
            if more or partition.cursor != NEW:
                self._unread[partition.number] = None
            if partition.cursor != NEW:
                partition.cursor = last[0] if more else NEW

    def _add(self, partition: Partition, raw: Any, time: int, now: float) -> None:
        eid, key, again, committed, body, tries, hold = raw
        number = partition.number
        mine = self._out.get((number, eid))
        if mine:  # handed out before we lost the partition and got it back
            self._lanes.add(mine.entry)
            return
        if (number, eid) in self._settled:
            if entry := self._settled[number, eid]:
                self._lanes.add(entry)
            return
        entry = Entry(number, eid, key, again == b"1", int(committed), len(body), body)
        entry.received = int(partition.cursor != NEW)
        entry.attempts, entry.due = _tries(tries, time, now)
        if hold:
            entry.held, entry.due = True, now + (int(hold.split()[1]) - time) / 1000
        self._lanes.add(entry)

    async def _look_after(self, held: list[Entry]) -> None:
        """What became of entries that other workers had in flight when we got their partition."""
        now = self._now()
        args: list[Argument] = []
        for entry in held:
            args += [entry.part, entry.eid]
        answers = await self._connection.run("deliveries/held", self.leases.id, self.leases.token, *args)
        for entry, (what, *more) in zip(held, answers, strict=True):
            if what == b"GONE":
                self._lanes.remove(entry)
            elif what == b"HELD":
                self._lanes.back(entry, now + int(more[0]) / 1000)
            elif what == b"OURS":
                entry.held = False
                entry.attempts, due = _tries(more[1], int(more[0]), now)
                self._lanes.back(entry, due)

    async def _read_bodies(self) -> None:
        wanted: list[Entry] = []
        args: list[Argument] = []
        left = BODIES_BYTES
        for entry in self._lanes.peek(BODIES):
            if entry.body is None and left > 0:
                wanted.append(entry)
                args += [entry.part, entry.eid]
                left -= entry.size
        if not wanted:
            return
        for entry, body in zip(wanted, await self._connection.run("deliveries/bodies", *args), strict=True):
            if body is None:  # deleted by somebody else's hand
                self._lanes.remove(entry)
            else:
                self._lanes.fill(entry, body)


def _tries(text: bytes, time: int, now: float) -> tuple[int, float]:
    """Attempts and when it is due, from what the scripts keep."""
    if not text:
        return 0, 0.0
    attempts, due = text.split()
    return int(attempts), now + (int(due) - time) / 1000 if int(due) > time else 0.0
