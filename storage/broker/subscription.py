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
from typing import Any

import structlog

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.broker.batching import Batched
from kubecdc.storage.broker.claims import HAND_BACK_SECONDS, Claims
from kubecdc.storage.broker.contract import Received, Source
from kubecdc.storage.broker.delivery import BrokerDelivery
from kubecdc.storage.broker.lanes import Entry, Lane, Lanes
from kubecdc.storage.broker.ledger import Ledger, ReceptionLedger, StateLedger, Tries
from kubecdc.storage.broker.marks import marks_of
from kubecdc.storage.broker.metrics import STALE
from kubecdc.storage.broker.receiver import Receiver
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.contracts import ClaimLost, Delivery, StateStore, SubscriptionSpec
from kubecdc.storage.memory import Share
from kubecdc.storage.outage import Outage

log = structlog.get_logger()
SHORTEST_DELAY = 1.0  # seconds; brokers count in whole ones, so a shorter delay is waited for here
BUSY_SECONDS = 0.5  # until a lane that another worker has is tried again
STATE_SECONDS = 1.0  # until a state store that was unavailable is asked again


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
        registered: Callable[[], Coroutine[Any, Any, tuple[SubscriptionSpec, ...]]],
    ) -> None:
        name, ack_wait = settings.name, settings.ack_wait
        self.ledger: Ledger = StateLedger(state, name) if state else ReceptionLedger()
        self.registered = registered
        self.successes = self.ledger.successes
        self._source = source
        self._settings = settings
        self._marks = marks_of(settings, state)
        self._share = Share(settings.memory)
        self._lanes = Lanes(self._share)
        self._claims = Claims(source, self._lanes, self._marks, ack_wait)
        self._receiver = Receiver(source, settings, self._share, room=self._room, received=self._received)
        self._ack = Batched(source.ack, source.most, lambda: self._out)
        self._ready: deque[Entry] = deque()
        self._offered = 0  # entries whose turn it is and that are not handed out yet, the ready ones included
        self._out = 0
        self._acking = 0  # of those that are out
        self._wake = asyncio.Event()  # something is ready, or may be handed out now
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()
        STALE.at(name)  # it is exported from now on, as 0
        self._outage = Outage(
            "messages wait for the state of their lanes", settings.rng, code="lanes-unreadable", subscription=name
        )
        self._failure: BaseException | None = None  # of a task, and no outage

    async def deliveries(self) -> AsyncIterator[Delivery]:
        workers = [asyncio.create_task(self._receiver.run()), asyncio.create_task(self._claims.keep(self._abandon))]
        for worker in workers:
            worker.add_done_callback(lambda _: self._wake.set())
        with self._share.opened():
            try:
                while not self._ended:
                    while self._ready and not self._ended and self._in_work < self._settings.prefetch:
                        entry = self._ready.popleft()
                        if self.lapsed(entry):
                            self._abandon(entry)
                            continue
                        self._offered -= 1
                        self._out += 1
                        self._lanes.handed_out(entry)
                        yield BrokerDelivery(self, entry)
                    for worker in workers:
                        if worker.done():
                            worker.result()
                    if self._failure:
                        raise self._failure
                    self._wake.clear()
                    if not self._ended:
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
                await self._claims.hand_back([lane.not_out for lane in self._lanes])

    def end(self) -> None:
        """End `deliveries`, as if its caller had closed it."""
        self._ended = True
        self._wake.set()

    # What a delivery calls. The calls raise ClaimLost, Unavailable.

    async def ack(self, entry: Entry, *, success: bool) -> None:
        """It is done. The next one is asked for at the same time."""
        self._acking += 1
        self._receiver.look_again()
        try:
            await self._marks.leave(entry.message, settled=True)
            try:
                await self._ack(entry.message)
            except ClaimLost:
                await self.not_acked(entry)
                raise
            if success:
                with suppress(Unavailable):  # the next one is noted
                    await self.ledger.succeeded()
            await self._forget(entry)
        finally:
            self._acking -= 1

    async def not_acked(self, entry: Entry) -> None:
        """It was run, and its claim is lost: spare other workers to run it again, if that is possible."""
        with suppress(Unavailable):
            await self._marks.leave(entry.message, settled=True)
            await self._marks.not_acked(entry.message)

    async def nack(self, entry: Entry, delay: float) -> None:
        """Hand it back with its delay, or hold it here."""
        await self._marks.leave(entry.message, settled=False)
        if entry.phase == "gone":
            raise ClaimLost.lapsed(entry.message.id)
        if self._ended or SHORTEST_DELAY <= delay <= self._source.longest_delay:
            await self._claims.release(entry, delay)
        else:
            entry.repeated = True
            self._lanes.hold(entry, asyncio.get_running_loop().time() + delay)

    async def extend(self, entry: Entry) -> None:
        """Keep the claim."""
        await self._marks.extend(entry.message)
        await self._claims.extend(entry.message)
        if entry.phase == "gone":
            raise ClaimLost.lapsed(entry.message.id)

    async def dead_letter(self, entry: Entry, reason: str, attempts: int) -> None:
        """Put it aside."""
        await self._source.dead_letter(entry.message, reason, attempts)
        with suppress(Unavailable):  # it is settled already; only its lane stays claimed until that lapses
            await self._marks.leave(entry.message, settled=True)
        await self._forget(entry)

    def lapsed(self, entry: Entry) -> bool:
        """Whether its claim is over, by our own clock."""
        return entry.phase == "gone" or asyncio.get_running_loop().time() >= entry.message.until

    def closed(self, entry: Entry, *, lost: bool) -> None:
        """A delivery is settled, or its claim is lost."""
        if entry.phase == "gone":  # its claim has lapsed, and the message may be here again
            return
        if lost:
            self._spawn(self._leave(entry))
            self._abandon(entry)
            return
        self._out -= 1
        self._next(self._lanes.remove(entry) if entry.phase == "out" else self._lanes.of(entry.message))
        self._changed()

    # Room

    @property
    def _in_work(self) -> int:
        """How many are handed out, without those that are being acked."""
        return self._out - min(self._acking, self._settings.prefetch)

    def _room(self) -> int:
        """How many messages to ask for. If too many wait behind others, one lane is handed back to make room."""
        asked = self._receiver.asked
        room = self._settings.prefetch - self._in_work - self._offered - asked
        waiting = self._lanes.held - self._offered + asked
        full = waiting >= self._settings.held_messages or self._share.full
        if full and room > 0 and not asked:
            self._hand_back_last_due()
        return 0 if full else min(room, self._share.events)

    def _hand_back_last_due(self) -> None:
        now = asyncio.get_running_loop().time()
        held = [lane for lane in self._lanes if not lane.busy and lane[0].due > now]
        if held:
            self._hand_back(max(held, key=lambda lane: lane[0].due))

    def _hand_back(self, entries: Sequence[Entry]) -> None:
        """They leave their lane at once: none is handed out meanwhile, and what the broker brings again is new."""
        leaving = list(entries)
        for entry in leaving:
            self._lanes.remove(entry)
        self._spawn(self._claims.hand_back([leaving]))
        self._changed()

    def _changed(self) -> None:
        self._receiver.look_again()
        self._wake.set()

    # Turns

    def _received(self, message: Received) -> None:
        for entry in self._lanes.of(message)[:1]:
            if entry.phase == "out" and self.lapsed(entry):  # nobody has settled it, and nobody can any more
                self._abandon(entry)
        self._next(self._lanes.add(message))

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
        if entry.tries is None:
            entry.tries = self.ledger.known(entry.message)
        if entry.tries is not None and self._marks.known(entry.message) == "free":  # of most messages
            self._ready.append(entry)
            self._wake.set()
        else:
            self._spawn(self._offer(entry))

    async def _offer(self, entry: Entry) -> None:
        """Find out what has to be known before it is handed out."""
        message = entry.message
        try:
            if entry.tries is None:
                entry.tries = await self.ledger.tries(message)
            entrance = await self._marks.enter(message)
            self._outage.over()
            match entrance:
                case "free":
                    self._ready.append(entry)
                    self._wake.set()
                case "busy":
                    self._postpone(entry, BUSY_SECONDS)
                case "stale":
                    await self._drop(entry)
        except Unavailable as e:
            self._outage.failed(e)
            self._postpone(entry, STATE_SECONDS)
        except ClaimLost:
            self._abandon(entry)

    async def _drop(self, entry: Entry) -> None:
        """Ack what is stale. Raises ClaimLost, Unavailable."""
        try:
            await self._ack(entry.message)
        except (ClaimLost, Unavailable):
            raise
        except KubecdcError as e:  # a missing right: the first ack failed for it too
            log.error(
                "a message that was settled before could not be acked; it comes again when its claim lapses",
                code="delivery-unsettled",
                subscription=self._settings.name,
                object=entry.message.lane,
                error=str(e),
            )
            self._abandon(entry)
            return
        STALE.at(self._settings.name).value += 1
        self._offered -= 1
        self._next(self._lanes.remove(entry))
        self._changed()

    def _postpone(self, entry: Entry, seconds: float) -> None:
        self._offered -= 1
        self._lanes.hold(entry, asyncio.get_running_loop().time() + seconds)
        self._next(self._lanes.of(entry.message))
        self._changed()

    def _abandon(self, entry: Entry) -> None:
        """Its claim is lost: the broker delivers it again, before the later ones of its lane, which go back too."""
        lane = self._lanes.of(entry.message)
        if entry in self._ready:
            self._ready.remove(entry)
        self._offered -= entry.phase == "offered"
        self._out -= entry.phase == "out"
        later = lane[lane.index(entry) + 1 :] if entry in lane else []
        self._lanes.remove(entry)
        if later and self._settings.ordered:
            self._hand_back(later)
        else:
            self._next(lane)
        self._changed()

    async def _leave(self, entry: Entry) -> None:
        with suppress(Unavailable):  # then other workers wait until it lapses
            await self._marks.leave(entry.message, settled=False)

    async def _forget(self, entry: Entry) -> None:
        if entry.tries != Tries() or entry.repeated:
            with suppress(Unavailable):  # then it expires
                await self.ledger.forget(entry.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failure = error
            self._wake.set()
