"""The watch's side of its checkpoint: each commit follows the one before, and blocks until the bus has taken it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from kubecdc.backoff import Backoff
from kubecdc.cluster.versions import older
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Batch, Bus, CheckpointDelta, Gap, Inventoried, State, Term
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.contracts.event import Event
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.ongoing_problems import Notices

BLOCKED = Backoff(duration=0.1, factor=2.0, cap=5.0, jitter=0.2)
FIRST_LIST = "first list"


class Journal:
    """Commits of one watch within one term. ``state`` is what the store holds, once it is ``stored``."""

    def __init__(
        self, entry: Entry, bus: Bus, term: Term, notices: Notices, *, number: int, state: State, stored: bool
    ) -> None:
        self.entry = entry
        self.term = term
        self.state = state
        self.number = number
        self._ahead = number, "", state  # with all that was prepared: number, token, state
        self.stored = stored
        self._bus = bus
        self._moved = asyncio.Event()
        self._last = asyncio.Event()  # set once the commit that was begun last is made
        self._last.set()
        self._notices = notices
        self._events = metrics.EVENTS.labels(entry.key)
        self._last_commit = metrics.LAST_COMMIT.labels(entry.key)

    @classmethod
    async def open(cls, entry: Entry, bus: Bus, term: Term, notices: Notices, *, cluster: str) -> Journal:
        """The checkpoint, fenced for this term; a fresh one asks for the first list. Raises LeadershipLost."""
        checkpoint = await bus.checkpoints.acquire(entry.key, term)
        state = checkpoint.state or State(
            position="",
            listing=FIRST_LIST,
            selection=entry.selection(cluster),
            started=datetime.now(UTC).isoformat(),
        )
        stored = checkpoint.state is not None
        return cls(entry, bus, term, notices, number=checkpoint.number, state=state, stored=stored)

    @property
    def under_way(self) -> int:
        """How many commits may be under way at a time."""
        return self._bus.publisher.under_way

    async def inventory(self) -> dict[str, Inventoried]:
        """Every object known, by uid."""
        return await self._bus.checkpoints.inventory(self.entry.key)

    async def bodies(self, uids: Sequence[str]) -> dict[str, bytes]:
        """The last bodies of objects, as far as the inventory keeps them."""
        if not (self.entry.keeps_objects and uids):
            return {}
        return await self._bus.checkpoints.bodies(self.entry.key, uids)

    async def heed(self, period: float) -> None:
        """Return never; raise CommitMismatch once somebody else has moved the checkpoint (reset, set, audit --repair).

        A commit would find out too, but on a quiet resource there may be none for long.
        """
        while True:
            await asyncio.sleep(period)
            before = self.number
            now = await self._bus.checkpoints.checkpoint(self.entry.key)
            if now and now.number != before and before == self.number and self._last.is_set():
                raise CommitMismatch(f"checkpoint {self.entry.key!r} was moved to commit {now.number} by somebody else")

    async def reach(self, version: str) -> None:
        """Return once the position has come to the version."""
        while older(self.state.position, version):
            self._moved.clear()
            await self._moved.wait()

    def assume(self, **changes: Any) -> None:
        """Take these fields of the state to be other than what is stored; the next commit stores them."""
        self.state = msgspec.structs.replace(self.state, **changes)
        self._ahead = self.number, "", self.state

    def prepare(
        self,
        events: Sequence[Event] = (),
        *,
        upserts: Mapping[str, Inventoried] | None = None,
        bodies: Mapping[str, bytes] | None = None,
        removals: frozenset[str] = frozenset(),
        gap: Gap | None = None,
        **changes: Any,
    ) -> Batch:
        """The next commit, of events, inventory and the changed fields of the state.

        It follows the one that was prepared before, which may still be under way: `make` them all, in that order.
        """
        number, token, state = self._ahead
        state = msgspec.structs.replace(state, **changes) if changes else state
        delta = CheckpointDelta(
            follows=number,
            after=token,
            state=state,
            upserts=upserts or {},
            bodies=bodies or {},
            removals=removals,
            gap=gap,
        )
        self._ahead = number + 1, delta.token, state
        return self._bus.publisher.prepare(Batch(self.entry.key, events, delta), term=self.term)

    async def commit(self, events: Sequence[Event] = (), **what: Any) -> None:
        """`prepare` and `make`."""
        await self.make(self.prepare(events, **what))

    async def make(self, batch: Batch) -> None:
        """Make it durable, all of it together.

        Up to `under_way` may be made at a time, begun in their order: each is sent at once, and if it was refused,
        again when the one before it is there. Blocks while the bus cannot take it, and says so: little more is read
        meanwhile. Repeating is safe, for the batch is the same. Raises CommitMismatch and LeadershipLost: after that
        nothing more can be made.
        """
        before, self._last = self._last, asyncio.Event()
        made, failures = self._last, 0
        while True:
            follows = before.is_set()
            try:
                await self._bus.publisher.commit(batch, term=self.term)
                break
            except CommitMismatch:
                if follows:
                    raise
            except Unavailable as e:
                failures += 1
                self._notices.trouble(f"{self.entry.key} (commit)", e)
                await asyncio.sleep(BLOCKED.delay(failures))
            await before.wait()
        await before.wait()
        made.set()
        self._notices.over(f"{self.entry.key} (commit)")
        self.number, self.state = batch.delta.follows + 1, batch.delta.state
        self.stored = True
        self._moved.set()
        self._events.inc(len(batch.events))
        self._last_commit.set_to_current_time()
