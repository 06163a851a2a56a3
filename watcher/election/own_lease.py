"""The Lease from the side of one candidate: claimed, renewed and released, and how long it may be trusted."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog

from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher.election.clock import Clock
from kubecdc.watcher.election.lease import Holding, Lease, LeaseClient, micro_time
from kubecdc.watcher.election.observation import LeaseObservation
from kubecdc.watcher.election.settings import LeaseSettings

log = structlog.get_logger()
LOST_RACE = frozenset({404, 409})
RELEASE_SECONDS = 2.0  # a process that is told to stop must stop, whether or not the API server answers


class OwnLease:
    """Reads and writes the Lease for one candidate. ``identity`` is the holder that it writes.

    ``doubtful``: the Lease may name us as its holder although we do not lead, because an answer was lost.
    """

    def __init__(self, client: LeaseClient, settings: LeaseSettings, identity: str, clock: Clock) -> None:
        self.client = client
        self.identity = identity
        self.doubtful = False
        self.observation = LeaseObservation(identity, settings.seconds, clock)
        self._settings = settings
        self._clock = clock
        self._renewal = asyncio.Lock()
        self._claimed: tuple[Lease, float] | None = None  # what `claim` wrote, and when it was sent
        self._held: Lease | None = None  # our holding as last written
        self._sent = 0.0  # when that was sent
        self._wall: datetime | None = None  # time of day of the last stamp
        self._stamps = 0  # earlier stamps of the same time of day

    @property
    def trust(self) -> float:
        """For how many seconds from now this process may publish, by its own clock. 0 or less: it must not."""
        return 0.0 if self._held is None else self._sent + self._settings.deadline_seconds - self._clock.now()

    @property
    def epoch_written(self) -> int:
        """The epoch in our holding."""
        return 0 if self._held is None else self._held.epoch

    async def look(self) -> Lease | None:
        """The Lease as it is; None if there is none. Raises ApiError, Malformed."""
        lease = await self.client.get(seconds=self._settings.request_seconds)
        self.observation.see(lease)
        return lease

    async def claim(self, lease: Lease | None, epoch: int) -> bool:
        """Write us as the holder over the Lease as we saw it. False: another candidate was faster.

        Raises ApiError, Malformed: then it is not known whether it was written. A claim counts once it is `confirm`ed.
        """
        changed = lease is not None and lease.holder != self.identity
        transitions = (lease.transitions if lease else 0) + changed
        sent, self.doubtful = self._clock.now(), True
        document = self._holding("", transitions, epoch).document(lease)
        write = self.client.create if lease is None else self.client.update
        try:
            held = await write(document, seconds=self._settings.request_seconds)
        except ApiError as e:
            if e.status == 409 or (lease and e.status == 404):
                self.doubtful = False
                return False
            raise
        self.observation.see(held)
        self._claimed = held, sent
        return True

    def confirm(self) -> bool:
        """Hold what was claimed. False: the reply took so long that no trust is left."""
        assert self._claimed is not None
        self._held, self._sent = self._claimed
        self.doubtful = False
        self.observation.taken()
        if self.trust <= 0:
            self._held = None
        return self._held is not None

    async def renew(self) -> None:
        """Write a new renewal time, and the highest epoch known. Raises ApiError, Malformed; LeadershipLost if the
        Lease is no longer ours."""
        async with self._renewal:
            try:
                await self._renew_over(self._held)
            except ApiError as e:
                if e.status not in LOST_RACE:
                    raise
                found = await self.look()
                if found is None or found.holder != self.identity:
                    whose = "was deleted" if found is None else f"is held by {found.holder or 'nobody'}"
                    raise LeadershipLost(f"the Lease {self._settings.place} {whose}") from e
                # Another program has annotated it, or the reply to our last renewal was lost.
                await self._renew_over(found)

    async def release(self) -> None:
        """Release the Lease if it is ours, so that the next leader need not wait. If that fails, it expires."""
        name = self._settings.place
        try:
            async with asyncio.timeout(min(RELEASE_SECONDS, self._settings.request_seconds)):
                if self._held is None or not await self._release_over(self._held):
                    found = await self.client.get(seconds=RELEASE_SECONDS)
                    if found and found.holder == self.identity:
                        await self._release_over(found)
        except (ApiError, Malformed, TimeoutError) as e:
            log.warning(
                "the lease could not be released, it will expire", code="lease-unreleased", lease=name, error=str(e)
            )

    def drop(self) -> None:
        """Trust the holding no longer."""
        self._held = None

    def _stamp(self) -> str:
        """The time of day, another one each time even if that clock stands still: it shows others that we renew."""
        wall = self._clock.wall()
        self._stamps = self._stamps + 1 if wall == self._wall else 0
        self._wall = wall
        return micro_time(wall + timedelta(microseconds=self._stamps))

    async def _renew_over(self, lease: Lease | None) -> None:
        assert lease is not None
        document = self._holding(lease.acquired, lease.transitions, self.observation.epoch).document(lease)
        sent = self._clock.now()
        held = await self.client.update(document, seconds=self._settings.request_seconds)
        self.observation.see(held)
        self._held, self._sent = held, sent

    async def _release_over(self, lease: Lease) -> bool:
        """False: the Lease is no longer as we knew it. Raises ApiError, Malformed."""
        now = micro_time(self._clock.wall())
        nobody = Holding(
            holder="",
            duration=1,
            acquired=now,
            renewed=now,
            transitions=lease.transitions,
            epoch=max(self.observation.epoch, lease.epoch),
        )
        try:
            self.observation.see(await self.client.update(nobody.document(lease), seconds=RELEASE_SECONDS))
        except ApiError as e:
            if e.status not in LOST_RACE:
                raise
            return False
        log.info("lease released", code="lease-released", lease=self._settings.place, holder=self.identity)
        return True

    def _holding(self, acquired: str, transitions: int, epoch: int) -> Holding:
        """A holding of ours, renewed now; ``acquired`` "" means now too."""
        now = self._stamp()
        return Holding(
            holder=self.identity,
            duration=int(self._settings.seconds),
            acquired=acquired or now,
            renewed=now,
            transitions=transitions,
            epoch=epoch,
            bus=self._settings.bus,
        )
