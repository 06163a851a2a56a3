"""Who leads: the holder of a Lease, as client-go elects, with an epoch that only grows.

Both sides judge by their own monotonic clock. A candidate takes over when the record has not changed for the duration
written in it; the leader trusts itself for the renew deadline, counted from when the last renewal that succeeded was
*sent*. The first is longer, so the leader has stopped before; what a pause or a broken clock still lets through, the
store refuses by the epoch.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.concurrency import run_until_first
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import CheckpointStore, Elector, Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher.election.clock import Clock, SystemClock
from kubecdc.watcher.election.lease import Lease, LeaseClient, micro_time, written
from kubecdc.watcher.election.observation import LeaseObservation
from kubecdc.watcher.election.settings import JITTER, LeaseSettings
from kubecdc.watcher.ongoing_problems import OngoingProblems

log = structlog.get_logger()
LOST_RACE = frozenset({404, 409})
RELEASE_SECONDS = 2.0  # a process that is told to go must go, whether or not the API server answers


class LeaseElector:
    """`storage.contracts.Elector`. With ``inner``, an elector of the bus, both have to be held; the Lease comes first.

    ``holder`` is for people; the identity in the Lease has a random end, so that no other process, not even this one
    started again, can take the holding for its own.
    """

    def __init__(
        self,
        client: LeaseClient,
        checkpoints: CheckpointStore,
        settings: LeaseSettings,
        *,
        holder: str,
        inner: Elector | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.identity = f"{holder}/{secrets.token_hex(4)}"
        self._client = client
        self._checkpoints = checkpoints
        self._settings = settings
        self._inner = inner
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._name = f"{settings.namespace}/{settings.name}"
        self._problems = OngoingProblems()
        self._renewal = asyncio.Lock()
        self._observation = LeaseObservation(self.identity, settings.seconds, self._clock)
        self._held: Lease | None = None  # our holding as last written
        self._asked = False  # whether the Lease may have us as its holder though we do not lead: an answer was lost
        self._sent = 0.0  # when that was sent
        self._lost: Exception | None = None

    @property
    def trusted(self) -> bool:
        """Whether this process may publish now, by its own clock."""
        return self._held is not None and self._left() > 0

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        """Wait for the Lease; it is released at the end of the block, once the block is over.

        When the trust window ends before, the block is cancelled and LeadershipLost is raised.
        """
        self._asked = self._lost is not None
        self._lost = None
        try:
            await self._take()
        except asyncio.CancelledError:
            if self._asked:
                await self._release()
            raise
        try:
            async with self._renewed(), AsyncExitStack() as stack:
                if self._inner is not None:
                    term = await stack.enter_async_context(self._inner.lead())
                    await self._raise_epoch(term.number)
                yield Term(self._observation.epoch, self.identity)
        finally:
            if self._lost is None:
                await self._release()
            self._held = None

    # -- standing by

    async def _take(self) -> None:
        """Return once the Lease is ours."""
        while True:
            try:
                if await self._try():
                    self._problems.resolve(self._who)
                    return
                self._problems.resolve(self._who)
            except (Unavailable, Malformed) as e:
                self._problems.report(self._who, e)
            wait = self._pause()
            if self._observation.bar > 0:
                wait = min(wait, self._observation.bar)
            await self._clock.sleep(wait)

    async def _try(self) -> bool:
        """Look at the Lease, and take it if nobody has it. Raises ApiError, Malformed, Unavailable."""
        lease = await self._client.get(seconds=self._settings.request_seconds)
        self._observation.see(lease)
        if self._observation.bar > 0:
            if leader := self._observation.new_leader(lease):
                log.info("standing by", leader=leader, lease=self._name, holder=self.identity)
            return False
        epoch = 1 + max(self._observation.epoch, await self._highest_term())
        changed = lease is not None and lease.holder != self.identity
        transitions = (lease.transitions if lease else 0) + changed
        document = self._document(lease, acquired="", transitions=transitions, epoch=epoch)
        sent, self._asked = self._clock.now(), True
        try:
            held = await self._write(lease, document, self._settings.request_seconds)
        except ApiError as e:
            if e.status == 409 or (lease and e.status == 404):
                self._asked = False
                return False
            raise
        self._observation.see(held)
        if lease is None and await self._highest_term() >= epoch:
            return False  # a Lease came and went since we looked; ours is taken anew, which a change would prevent
        self._held, self._sent, self._asked = held, sent, False
        self._observation.taken()
        if not self.trusted:  # the reply took too long: it is ours, but not for long enough
            self._held = None
            return False
        log.info("lease taken", lease=self._name, term=epoch, holder=self.identity)
        return True

    async def _highest_term(self) -> int:
        """Of the checkpoints. Raises Unavailable: who cannot reach the store must not lead."""
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                return max((c.term for c in await self._checkpoints.checkpoints()), default=0)
        except TimeoutError as e:
            raise Unavailable("the bus did not tell its checkpoints in time", hint="check that it is up") from e

    # -- leading

    @asynccontextmanager
    async def _renewed(self) -> AsyncIterator[None]:
        """Renew meanwhile; cancel the block when the lead is lost, and raise LeadershipLost."""
        try:
            async with asyncio.timeout(None) as window:
                keeper = asyncio.create_task(self._keep(window))
                try:
                    yield
                finally:
                    keeper.cancel()
                    await asyncio.gather(keeper, return_exceptions=True)
        except TimeoutError:
            if self._lost is None:
                raise  # the block's own
            raise self._lost from None

    async def _keep(self, window: asyncio.Timeout) -> None:
        try:
            await run_until_first(self._guard(), self._renew())
        except Exception as e:  # a defect in here must end the lead too
            self._lost = e
        window.reschedule(asyncio.get_running_loop().time())

    async def _guard(self) -> None:
        """Raise LeadershipLost when the trust window ends, whatever the renewals are waiting for."""
        while (left := self._left()) > 0:
            await self._clock.sleep(min(left, self._settings.retry_seconds))
        deadline = self._settings.deadline_seconds
        raise LeadershipLost(f"the Lease {self._name} could not be renewed for {deadline:g} s")

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._pause())
            try:
                await self._renew_once()
                self._problems.resolve(self._who)
            except (ApiError, Malformed) as e:
                self._problems.report(self._who, e)

    async def _renew_once(self) -> None:
        """Raises ApiError, Malformed, and LeadershipLost if the Lease is not ours any more."""
        async with self._renewal:
            try:
                await self._renew_over(self._held)
            except ApiError as e:
                if e.status not in LOST_RACE:
                    raise
                found = await self._client.get(seconds=self._settings.request_seconds)
                self._observation.see(found)
                if found is None or found.holder != self.identity:
                    whose = "was deleted" if found is None else f"is held by {found.holder or 'nobody'}"
                    raise LeadershipLost(f"the Lease {self._name} {whose}") from e
                # Somebody annotated it, or the reply to our last renewal was lost.
                await self._renew_over(found)

    async def _renew_over(self, lease: Lease | None) -> None:
        assert lease is not None
        document = self._document(
            lease, acquired=lease.acquired, transitions=lease.transitions, epoch=self._observation.epoch
        )
        sent = self._clock.now()
        held = await self._client.update(document, seconds=self._settings.request_seconds)
        self._observation.see(held)
        self._held, self._sent = held, sent

    async def _raise_epoch(self, number: int) -> None:
        """Have an epoch in the Lease that is not below the number. Raises LeadershipLost."""
        if number > self._observation.epoch:
            self._observation.epoch = number
            log.info("epoch raised", lease=self._name, term=number, holder=self.identity)
        while self._held is not None and self._held.epoch < self._observation.epoch:
            try:
                await self._renew_once()
            except (ApiError, Malformed) as e:
                self._problems.report(self._who, e)
                await self._clock.sleep(self._pause())

    # -- and after

    async def _release(self) -> None:
        """Give it up, if it is ours, so that the next one need not wait. It expires if that fails."""
        try:
            async with asyncio.timeout(min(RELEASE_SECONDS, self._settings.request_seconds)):
                if self._held is None or not await self._release_over(self._held):
                    found = await self._client.get(seconds=RELEASE_SECONDS)
                    if found and found.holder == self.identity:
                        await self._release_over(found)
        except (ApiError, Malformed, TimeoutError) as e:
            log.warning("the lease could not be released, it will expire", lease=self._name, error=str(e))

    async def _release_over(self, lease: Lease) -> bool:
        """Whether it was as we knew it. Raises ApiError, Malformed."""
        now = micro_time(self._clock.wall())
        document = written(
            lease,
            holder="",
            duration=1,
            acquired=now,
            renewed=now,
            transitions=lease.transitions,
            epoch=max(self._observation.epoch, lease.epoch),
        )
        try:
            self._observation.see(await self._client.update(document, seconds=RELEASE_SECONDS))
        except ApiError as e:
            if e.status not in LOST_RACE:
                raise
            return False
        log.info("lease released", lease=self._name, holder=self.identity)
        return True

    # -- small change

    @property
    def _who(self) -> str:
        return f"lease {self._name}"

    def _left(self) -> float:
        """Seconds of trust."""
        return self._sent + self._settings.deadline_seconds - self._clock.now()

    def _pause(self) -> float:
        """The retry period or a little less, so that candidates do not march in step."""
        return self._settings.retry_seconds / self._rng.uniform(1.0, JITTER)

    def _document(self, lease: Lease | None, *, acquired: str, transitions: int, epoch: int) -> dict[str, Any]:
        """The Lease as ours; ``acquired`` "" means now."""
        now = micro_time(self._clock.wall())
        return written(
            lease,
            holder=self.identity,
            duration=int(self._settings.seconds),
            acquired=acquired or now,
            renewed=now,
            transitions=transitions,
            epoch=epoch,
        )

    async def _write(self, lease: Lease | None, document: dict[str, Any], seconds: float) -> Lease:
        if lease is None:
            return await self._client.create(document, seconds=seconds)
        return await self._client.update(document, seconds=seconds)
