"""A subscription as a worker opens it: events that are due, until the bus is closed.

RQ's rate limit lets one job of each lane into the queue, so whatever the queue has may be worked on at once. Delays are
in Redis too: a delayed job is in none of RQ's lists, but it counts as queued for RQ and keeps its place in its lane.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts import Failures, SubscriptionSpec
from kubecdc.storage.memory import Share
from kubecdc.storage.outage import Outage
from kubecdc.storage.redis_server.connection import BODIES_BYTES, Argument, Connection
from kubecdc.storage.redis_server.notifier import Listener, Notifier
from kubecdc.storage.redis_server.registrations import Registrations, registered, successes
from kubecdc.storage.rq import jobs
from kubecdc.storage.rq.deliveries.claim import Claim
from kubecdc.storage.rq.deliveries.delivery import RqDelivery
from kubecdc.storage.rq.deliveries.settings import SubscriptionSettings
from kubecdc.storage.rq.deliveries.worker import LEAVE, Worker

POLL = 1.0  # seconds: RQ's own workers let jobs into the queue without telling
JOBS = 64  # in one script: each takes about ten commands
ENDED = 1.0  # seconds until a subscription that was ended is looked for again


class RqSubscription:
    """`storage.contracts.Subscription`. ``opened`` has an event for each open iterator of the bus, set once it ends."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        connection: Connection,
        registrations: Registrations,
        notifier: Notifier,
        opened: set[asyncio.Event],
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._connection = connection
        self._registrations = registrations
        self._notifier = notifier
        self._opened = opened

    async def deliveries(self) -> AsyncIterator[RqDelivery]:
        """Ends when the bus is closed."""
        claims = _Claims(self._settings, self._connection, self._registrations)
        outage = Outage(
            "cannot read the subscription", self._settings.rng, code="subscription-unreadable", subscription=self.name
        )
        ended = asyncio.Event()
        self._opened.add(ended)
        helper = asyncio.create_task(claims.worker.run(lambda: claims.id))
        try:
            with self._notifier.listen(claims.listener), claims.share.opened():
                while not self._connection.ending:
                    claims.listener.wake.clear()
                    try:
                        pause = await claims.take()
                        outage.over()
                    except Unavailable as e:
                        if self._connection.ending:
                            break
                        await asyncio.sleep(outage.failed(e))
                        continue
                    while claims.ready:
                        yield claims.ready.popleft()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await claims.listener.wake.wait()
        finally:
            helper.cancel()
            try:
                await claims.hand_back()
                await claims.worker.leave()
            finally:
                self._opened.discard(ended)
                ended.set()

    async def successes(self) -> int:
        return await successes(self._connection, self.name)

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return await registered(self._connection, self.name)


class _Claims:
    """What an open iterator has claimed. ``id`` is that of the subscription, "" if it is not known."""

    def __init__(self, settings: SubscriptionSettings, connection: Connection, registrations: Registrations) -> None:
        self._settings = settings
        self._connection = connection
        self._registrations = registrations
        self._open: set[RqDelivery] = set()
        self.share = Share(settings.memory)
        self._taking: asyncio.Task[float] | None = None
        self.ready: deque[RqDelivery] = deque()
        self.listener = Listener()
        self.id = ""
        self.worker = Worker(settings, connection, lambda: bool(self._open))

    async def take(self) -> float:
        """Claim as many jobs as there is room for. Returns for how many seconds there are no others."""
        now = asyncio.get_running_loop().time()
        for delivery in [delivery for delivery in self._open if delivery.until < now]:
            self._forget(delivery)  # nobody here settles it any more
        if len(self._open) >= self._settings.prefetch or self.share.full:
            return POLL
        self._taking = asyncio.create_task(self._take())
        return await asyncio.shield(self._taking)  # what it claims is handed back even if this is cancelled

    async def _take(self) -> float:
        if not self.id:
            await self._find()
            if not self.id:
                return ENDED
        settings = self._settings
        wanted = min(settings.prefetch - len(self._open), self.share.events, JOBS)
        executions = [uuid4().hex for _ in range(wanted)]
        until = asyncio.get_running_loop().time() + settings.ack_wait
        with self.share.asked(len(executions), BODIES_BYTES) as size:
            args: tuple[Argument, ...] = (self.id, settings.wait, self.worker.name, jobs.time_text(), size, *executions)
            answer = await self._connection.run("deliveries/claim", *args)
        if answer is None:
            self.id = ""
            return ENDED
        due, found = answer
        for job, execution, data, received, attempts, redelivery, uncounted, succeeded in found:
            claim = Claim(self._connection, self.id, job.decode(), execution.decode(), self.worker.name)
            delivery = RqDelivery(
                claim,
                jobs.body(data, redelivery),
                received=int(received),
                attempts=int(attempts),
                failures=Failures(int(uncounted), int(succeeded)),
                wait=settings.wait,
                until=until,
                closed=self._closed,
                wake=self.listener.wake.set,
            )
            self._open.add(delivery)
            self.share.add(len(delivery.body))
            self.ready.append(delivery)
        if found and len(self._open) < settings.prefetch:
            return 0.0  # there may be more
        return min(POLL, int(due) / 1000) if int(due) >= 0 else POLL

    async def _find(self) -> None:
        found = await self._connection.keyed("HGET", "subscriptions", self._settings.name)
        if not found:
            await self._registrations.restore()  # for the next time, unless it was pruned
            return
        self.id = found.decode()
        self.listener.subscription = int(found)
        await self.worker.heartbeat(self.id)

    def _closed(self, delivery: RqDelivery) -> None:
        self._forget(delivery)
        self.listener.wake.set()

    def _forget(self, delivery: RqDelivery) -> None:
        if delivery in self._open:
            self._open.discard(delivery)
            self.share.remove(len(delivery.body))

    async def hand_back(self) -> None:
        """Let other workers have what was claimed and not handed out."""
        with suppress(KubecdcError, TimeoutError):  # then the claims lapse
            async with asyncio.timeout(LEAVE):
                if self._taking:
                    with suppress(KubecdcError):
                        await self._taking
                for delivery in [*self.ready]:
                    await delivery.hand_back()
