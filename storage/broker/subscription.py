"""Deliveries from a broker: messages are received, put into lanes, handed out one of a lane at a time, and settled.

    receive -> lane -> its turn -> stale? attempts? -> handed out -> ack / nack / dead letter -> the next of the lane

What waits here is extended until its turn comes, and is handed back at the end. What is handed out is extended by the
worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import compress
from typing import Any

import structlog

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.broker.batching import Batched
from kubecdc.storage.broker.contract import Received, Results, Source
from kubecdc.storage.broker.delivery import BrokerDelivery
from kubecdc.storage.broker.lanes import Entry, Lane, Lanes
from kubecdc.storage.broker.ledger import Ledger, ReceptionLedger, StateLedger
from kubecdc.storage.broker.marks import Marks, OwnMarks, SharedMarks
from kubecdc.storage.broker.metrics import STALE
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.contracts import ClaimLost, Delivery, StateStore, SubscriptionSpec
from kubecdc.storage.outage import Outage

log = structlog.get_logger()
SHORTEST_DELAY = 1.0  # seconds; brokers count in whole ones, so a shorter delay is waited for here
BUSY_SECONDS = 0.5  # until a lane that another worker has is tried again
HAND_BACK_SECONDS = 3.0  # for what waits, when the deliveries end


class BrokerSubscription:
    """Implements `storage.contracts.Subscription` over a `Source`.

    ``registered`` tells what the subscription is registered for. Without ``state``, the broker's receptions stand for
    attempts.
    """

    def __init__(
        self,
        source: Source,
        settings: BrokerSettings,
        state: StateStore | None,
        registered: Callable[[], Coroutine[Any, Any, SubscriptionSpec | None]],
    ) -> None:
        name = settings.name
        self.ledger: Ledger = StateLedger(state, name) if state else ReceptionLedger()
        self.registered = registered
        self._source = source
        self._settings = settings
        self._marks: Marks = OwnMarks()
        if not settings.ordered and state and state.frequent:
            self._marks = SharedMarks(state, name, settings.holder, settings.ack_wait, settings.wall)
        self._lanes = Lanes()
        self._ready: deque[Entry] = deque()
        self._offered = 0  # entries whose turn it is and that are not handed out yet, the ready ones included
        self._out = 0
        self._asked = 0  # messages that calls under way may return
        self._ack, self._extend = Batched(source.ack, source.most), Batched(self._extended, source.most)
        self._wake = asyncio.Event()  # something is ready, or there is room
        self._room = asyncio.Event()
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._stale = STALE.labels(name)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        workers = [asyncio.create_task(self._receive()), asyncio.create_task(self._keep())]
        for worker in workers:
            worker.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                while self._ready and not self._ended and self._out < self._settings.prefetch:
                    entry = self._ready.popleft()
                    if self.lapsed(entry):
                        self._abandon(entry)
                        continue
                    self._offered -= 1
                    self._out += 1
                    self._lanes.handed_out(entry)
                    yield BrokerDelivery(self, entry)
                if self._ended:
                    return
                for worker in workers:
                    if worker.done():
                        worker.result()
                self._wake.clear()
                await self._wake.wait()
        finally:
            self._ended = True
            for worker in workers:
                worker.cancel()
            if self._tasks:  # a change of the state that has been sent would be made although it is cancelled
                await asyncio.wait(self._tasks, timeout=HAND_BACK_SECONDS)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*workers, *self._tasks, return_exceptions=True)
            await self._hand_back(list(self._lanes))

    def end(self) -> None:
        """End `deliveries`, as if its caller had closed it."""
        self._ended = True
        self._wake.set()

    # What a delivery calls

    async def ack(self, entry: Entry) -> None:
        """Raises ClaimLost, Unavailable."""
        await self._marks.leave(entry.message, settled=True)
        await self._ack(entry.message)
        await self._forget(entry)

    async def nack(self, entry: Entry, delay: float) -> None:
        """Hand it back with its delay, or hold it here. Raises ClaimLost, Unavailable."""
        await self._marks.leave(entry.message, settled=False)
        if self._ended or SHORTEST_DELAY <= delay <= self._source.longest_delay:
            delay = min(delay, self._source.longest_delay)
            await self._release(self._lanes.of(entry.message), delay)
        else:
            entry.repeated = True
            self._lanes.hold(entry, asyncio.get_running_loop().time() + delay)

    async def extend(self, entry: Entry) -> None:
        """Raises ClaimLost, Unavailable."""
        await self._marks.extend(entry.message)
        await self._extend(entry.message)

    async def dead_letter(self, entry: Entry, reason: str, attempts: int) -> None:
        """Raises ClaimLost, Unavailable."""
        await self._source.dead_letter(entry.message, reason, attempts)
        await self._marks.leave(entry.message, settled=True)
        await self._forget(entry)

    def lapsed(self, entry: Entry) -> bool:
        """Whether its claim is over, by our own clock."""
        return asyncio.get_running_loop().time() >= entry.message.until

    def closed(self, entry: Entry, *, lost: bool) -> None:
        """A delivery is settled, or its claim is lost."""
        self._out -= 1
        if lost:
            self._spawn(self._leave(entry))
            self._abandon(entry)
        elif entry.phase == "out":
            self._next(self._lanes.remove(entry))
        elif entry.phase == "waiting":
            self._next(self._lanes.of(entry.message))
        self._room.set()
        self._wake.set()

    # Receiving

    async def _receive(self) -> None:
        """Keep one call waiting for messages, and more of them while each returns all that it may."""
        outage = Outage("cannot receive events", self._settings.rng, subscription=self._settings.name)
        calls: set[asyncio.Task[bool]] = set()
        most = 1
        try:
            while True:
                self._room.clear()
                while len(calls) < most and (room := self._room_for()) > 0:
                    calls.add(asyncio.create_task(self._receive_some(room)))
                if not calls:
                    await self._room.wait()
                    continue
                more = asyncio.create_task(self._room.wait())
                await asyncio.wait({*calls, more}, return_when=asyncio.FIRST_COMPLETED)
                more.cancel()
                for call in [call for call in calls if call.done()]:
                    calls.discard(call)
                    try:
                        most = min(most + 1, self._settings.receivers) if call.result() else max(1, most - 1)
                        outage.over()
                    except Unavailable as e:
                        await asyncio.sleep(outage.failed(e))
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    def _room_for(self) -> int:
        """How many messages to ask for. If too many wait behind others, one lane is handed back to make room."""
        waiting = self._lanes.held - self._offered + self._asked
        room = self._settings.prefetch - self._out - self._offered - self._asked
        full = waiting >= self._settings.held_messages or self._lanes.held_bytes >= self._settings.held_bytes
        if full and room > 0 and not self._asked:
            self._shed()
        return 0 if full else min(room, self._source.most)

    def _shed(self) -> None:
        now = asyncio.get_running_loop().time()
        held = [lane for lane in self._lanes if lane and not lane.busy and lane[0].due > now]
        if held:
            last = max(held, key=lambda lane: lane[0].due)
            self._spawn(self._hand_back([last]))

    async def _receive_some(self, room: int) -> bool:
        """Whether as many came as were asked for."""
        self._asked += room
        try:
            messages = await self._source.receive(room)
        finally:
            self._asked -= room
        for message in messages:
            self._next(self._lanes.add(message))
        return len(messages) >= room

    # Turns

    def _next(self, lane: Lane) -> None:
        """Offer the first message of a lane, if it is due."""
        if self._ended or not lane or lane.busy:
            return
        loop, entry = asyncio.get_running_loop(), lane[0]
        if entry.due > loop.time():
            loop.call_at(entry.due, self._next, lane)
            return
        entry.phase = "offered"
        self._offered += 1
        self._spawn(self._offer(entry))

    async def _offer(self, entry: Entry) -> None:
        """Find out what has to be known before it is handed out."""
        message = entry.message
        try:
            if not entry.asked:
                entry.attempts, entry.asked = await self.ledger.attempts(message), True
            match await self._marks.enter(message):
                case "busy":
                    self._postpone(entry, BUSY_SECONDS)
                case "stale":
                    await self._ack(message)
                    self._stale.inc()
                    self._offered -= 1
                    self._next(self._lanes.remove(entry))
                    self._room.set()
                case _:
                    self._ready.append(entry)
                    self._wake.set()
        except Unavailable as e:
            log.debug("a message waits for the state of its lane", subscription=self._settings.name, error=str(e))
            self._postpone(entry, 1.0)
        except ClaimLost:
            self._offered -= 1
            self._abandon(entry)

    def _postpone(self, entry: Entry, seconds: float) -> None:
        self._offered -= 1
        self._lanes.hold(entry, asyncio.get_running_loop().time() + seconds)
        self._next(self._lanes.of(entry.message))
        self._room.set()

    # Claims

    async def _keep(self) -> None:
        """Extend what waits each third of ackWait; each twelfth while the broker is unavailable."""
        ack_wait, loop = self._settings.ack_wait, asyncio.get_running_loop()
        pause = ack_wait / 3
        while True:
            await asyncio.sleep(pause)
            pause, soon = ack_wait / 3, loop.time() + 0.7 * ack_wait
            waiting = [entry for lane in self._lanes for entry in lane if entry.phase in {"waiting", "offered"}]
            waiting = [entry for entry in waiting if entry.message.until < soon]
            results = await asyncio.gather(*(self._extend(entry.message) for entry in waiting), return_exceptions=True)
            for entry, result in zip(waiting, results, strict=True):
                if isinstance(result, ClaimLost) and entry.phase == "waiting":
                    self._abandon(entry)
                elif isinstance(result, Unavailable):
                    pause = ack_wait / 12
                elif isinstance(result, BaseException) and not isinstance(result, ClaimLost):
                    raise result

    async def _extended(self, messages: Sequence[Received]) -> Results:
        begin = asyncio.get_running_loop().time()
        valid = [message.until > begin for message in messages]
        results = iter(await self._source.extend([*compress(messages, valid)]) if any(valid) else [])
        found: list[KubecdcError | None] = []
        for message, still in zip(messages, valid, strict=True):
            error = next(results) if still else ClaimLost.lapsed(message.id)
            if error is None:
                message.until = begin + self._settings.ack_wait
            found.append(error)
        return found

    def _abandon(self, entry: Entry) -> None:
        """Its claim is lost: the broker delivers it again, before the later ones of its lane, which go back too."""
        lane = self._lanes.of(entry.message)
        if entry in self._ready:
            self._ready.remove(entry)
        if entry.phase == "offered":
            self._offered -= 1
        later = lane[lane.index(entry) + 1 :] if entry in lane else []
        self._lanes.remove(entry)
        if later and self._settings.ordered:
            self._spawn(self._hand_back([Lane(later)]))
        else:
            self._next(lane)
        self._room.set()

    # Handing back

    async def _release(self, lane: Lane, delay: float) -> None:
        """Hand back a lane: the later ones first, so that the broker cannot give them out before the first."""
        first, *later = lane
        for at in range(len(later), 0, -self._source.most):
            await self._release_some(later[max(0, at - self._source.most) : at], 0.0)
        for error in await self._source.release([first.message], delay):
            if error is not None:
                raise error

    async def _release_some(self, entries: Sequence[Entry], delay: float) -> None:
        for entry, error in zip(
            entries, await self._source.release([entry.message for entry in entries], delay), strict=True
        ):
            if isinstance(error, Unavailable):
                raise error
            if entry.phase == "offered":
                await self._leave(entry)
            self._lanes.remove(entry)

    async def _hand_back(self, lanes: Sequence[Lane]) -> None:
        """Hand back what is not handed out. What the broker does not take back comes again when its claim lapses."""
        now = asyncio.get_running_loop().time()

        async def hand_back(lane: Lane) -> None:
            later = [entry for entry in lane if entry.phase in {"waiting", "offered"}]
            first = [later.pop(0)] if later and later[0] is lane[0] else []
            for at in range(len(later), 0, -self._source.most):
                await self._release_some(later[max(0, at - self._source.most) : at], 0.0)
            if first:
                await self._release_some(first, min(max(0.0, first[0].due - now), self._source.longest_delay))

        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_BACK_SECONDS):
                results = await asyncio.gather(*(hand_back(lane) for lane in lanes), return_exceptions=True)
                for error in results:
                    if isinstance(error, BaseException) and not isinstance(error, KubecdcError):
                        raise error
        self._room.set()

    async def _leave(self, entry: Entry) -> None:
        with suppress(Unavailable):  # then other workers wait until it lapses
            await self._marks.leave(entry.message, settled=False)

    async def _forget(self, entry: Entry) -> None:
        if entry.attempts or entry.repeated:
            with suppress(Unavailable):  # then it expires
                await self.ledger.forget(entry.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
