"""Who leads: the holder of a Lease, as client-go elects, with an epoch that only grows.

Both sides judge by their own monotonic clock. A candidate takes over when the record has not changed for the duration
that it states. The leader trusts itself for the renew deadline, counted from when the last renewal that succeeded was
*sent*. The deadline is shorter, so an old leader stops before a new one starts. What a pause or a broken clock still
lets through, the store refuses by the epoch.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from kubecdc import facts
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.concurrency import run_until_first
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import CheckpointStore, Elector, Term, least_term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher.election.clock import Timing
from kubecdc.watcher.election.lease import LeaseClient
from kubecdc.watcher.election.own_lease import OwnLease
from kubecdc.watcher.election.settings import JITTER, LeaseSettings
from kubecdc.watcher.ongoing_problems import OngoingProblems

log = structlog.get_logger()


class LeaseElector:
    """`storage.contracts.Elector`. With ``inner``, an elector of the bus, both must be held; the Lease comes first.

    ``holder`` appears in logs and in the Lease. The identity in the Lease has a random suffix, so that no other
    process, not even this one after a restart, can take the holding for its own.
    """

    def __init__(
        self,
        client: LeaseClient,
        checkpoints: CheckpointStore,
        settings: LeaseSettings,
        *,
        holder: str,
        inner: Elector | None = None,
        timing: Timing | None = None,
    ) -> None:
        timing = timing or Timing()
        self.identity = f"{holder}/{secrets.token_hex(4)}"
        self._lease = OwnLease(client, settings, self.identity, timing.clock)
        self._checkpoints = checkpoints
        self._settings = settings
        self._inner = inner
        self._clock = timing.clock
        self._rng = timing.rng or random.Random()
        self._facts = {"lease": settings.place, "holder": self.identity}  # of log lines
        self._problems = OngoingProblems()
        self._problem = f"lease {settings.place}"
        self._foreign: set[str] = set()  # other buses in the Lease that were warned of
        self._lost: Exception | None = None  # why the last lead ended, unless it was handed over

    @property
    def trusted(self) -> bool:
        """Whether this process may publish now, by its own clock."""
        return self._lease.trust > 0

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        """Wait for the Lease; it is released once the block is over.

        If trust ends before, the block is cancelled and LeadershipLost is raised.
        """
        ends = facts.troubles.read_all(self._problems.active)
        try:
            async with self._led() as term:
                yield term
        finally:
            ends()

    @asynccontextmanager
    async def _led(self) -> AsyncIterator[Term]:
        self._lease.doubtful = self._lost is not None
        self._lost = None
        try:
            await self._take()
        except asyncio.CancelledError:
            if self._lease.doubtful:
                await self._lease.release()
            raise
        try:
            async with self._renewed(), AsyncExitStack() as stack:
                if self._inner is not None:
                    term = await stack.enter_async_context(self._inner.lead())
                    await self._raise_epoch(term.number)
                assured = self._settings.deadline_seconds - self._settings.retry_seconds
                yield Term(self._lease.observation.epoch, self.identity, lambda: self._lease.trust, assured)
        finally:
            if self._lost is None:
                await self._lease.release()
            self._lease.drop()

    # Standing by

    async def _take(self) -> None:
        """Return once the Lease is ours."""
        while True:
            try:
                taken = await self._try()
                self._problems.resolve(self._problem)
                if taken:
                    return
            except (Unavailable, Malformed) as e:
                self._problems.report(self._problem, e, code="lease-failing")
            wait, bar = self._pause(), self._lease.observation.bar
            await self._clock.sleep(min(wait, bar) if bar > 0 else wait)

    async def _try(self) -> bool:
        """Look at the Lease, and take it if nobody holds it. Raises ApiError, Malformed, Unavailable."""
        observation = self._lease.observation
        lease = await self._lease.look()
        if lease is not None:
            self._compare(lease.bus)
        if observation.bar > 0:
            if leader := observation.new_leader(lease):
                log.info("standing by", code="standing-by", leader=leader, **self._facts)
            return False
        newest = max(observation.epoch, await self._highest_term())
        epoch = max(newest + 1, least_term(self._clock.wall().timestamp()))
        if not await self._lease.claim(lease, epoch):
            return False
        if lease is None and await self._highest_term() >= epoch:
            # A Lease came and went since we looked. Ours is taken again, now over the one that we have written.
            return False
        if not self._lease.confirm():
            return False
        log.info("lease taken", code="lease-taken", term=epoch, **self._facts)
        return True

    def _compare(self, bus: str) -> None:
        """Warn, once for each, of another bus that the Lease elects for: then only one of the two has a leader."""
        if bus and self._settings.bus not in {"", bus} and bus not in self._foreign:
            self._foreign.add(bus)
            log.warning(
                "the lease elects for another bus too",
                code="lease-shared",
                bus=self._settings.bus,
                other=bus,
                hint="if both are in use, give one of the two installations another --lease-name",
                **self._facts,
            )

    async def _highest_term(self) -> int:
        """The newest term that the store knows. Raises Unavailable: without the store, a process must not lead."""
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                return await self._checkpoints.newest_term()
        except TimeoutError as e:
            raise Unavailable("the bus did not return its newest term in time", hint="check that it is up") from e

    # Leading

    @asynccontextmanager
    async def _renewed(self) -> AsyncIterator[None]:
        """Renew the Lease during the block. When the lead is lost, cancel the block and raise LeadershipLost."""
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
        """Raise LeadershipLost when trust ends, whatever the renewals are waiting for."""
        while (left := self._lease.trust) > 0:
            await self._clock.sleep(min(left, self._settings.retry_seconds))
        deadline = self._settings.deadline_seconds
        raise LeadershipLost(f"the Lease {self._settings.place} could not be renewed for {deadline:g} s")

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._pause())
            try:
                await self._lease.renew()
                self._problems.resolve(self._problem)
            except (ApiError, Malformed) as e:
                self._problems.report(self._problem, e, code="lease-failing")

    async def _raise_epoch(self, number: int) -> None:
        """Write an epoch into the Lease that is not below the number. Raises LeadershipLost."""
        if number > self._lease.observation.epoch:
            self._lease.observation.epoch = number
            log.info("epoch raised", code="epoch-raised", term=number, **self._facts)
        while self._lease.epoch_written < self._lease.observation.epoch:
            try:
                await self._lease.renew()
            except (ApiError, Malformed) as e:
                self._problems.report(self._problem, e, code="lease-failing")
                await self._clock.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until the next try: the retry period or a little less, so that candidates do not act in step."""
        return self._settings.retry_seconds / self._rng.uniform(1.0, JITTER)
