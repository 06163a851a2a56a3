"""Writes the checkpoint of one watch: each commit follows the one before, and waits until the bus has accepted it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubecdc.backoff import Backoff
from kubecdc.cluster.versions import older
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Batch, Checkpoint, CheckpointDelta, Gap, Inventoried, State
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption.codec import require_clear
from kubecdc.watcher import metrics
from kubecdc.watcher.capture import traces
from kubecdc.watcher.capture.entry import Entry, Origin
from kubecdc.watcher.capture.progress import Progress
from kubecdc.watcher.session import Session

BLOCKED = Backoff(duration=0.1, factor=2.0, cap=5.0, jitter=0.2)
FIRST_LIST = "first list"


def commits_of(key: str) -> str:
    """The name under which trouble with the commits of a watch is reported."""
    return f"{key} (commit)"


class CheckpointWriter:
    """Commits of one watch within one term. ``state`` is what the store holds, once it is ``stored``.

    ``progress`` is told of each commit.
    """

    def __init__(self, session: Session, entry: Entry, checkpoint: Checkpoint, state: State) -> None:
        self.session = session
        self.entry = entry
        self.state = state
        self.number = checkpoint.number
        self.stored = checkpoint.state is not None
        self._ahead = self.number, "", state  # number, token and state of the last commit that was prepared
        self._bus = session.bus
        self._moved = asyncio.Event()
        self._last = asyncio.Event()  # set once the commit that was begun last is done
        self._last.set()
        self._problem = commits_of(entry.key)
        self._events = metrics.of(metrics.EVENTS, entry.key)
        self._truncated = metrics.of(metrics.TRUNCATED, entry.key)
        self._traces = traces.of(entry.key)
        self.progress = Progress(session.now)

    @classmethod
    async def open(cls, session: Session, entry: Entry, *, cluster: str) -> CheckpointWriter:
        """Take the checkpoint for this term; a new one asks for the first list. ``cluster`` is the cluster's uid.

        Raises LeadershipLost, Unavailable.
        """
        checkpoint = await session.bus.checkpoints.acquire(entry.key, session.term)
        state = checkpoint.state or await cls._new(session, entry, cluster, was_used=checkpoint.number > 0)
        return cls(session, entry, checkpoint, state)

    @staticmethod
    async def _new(session: Session, entry: Entry, cluster: str, *, was_used: bool) -> State:
        """The state before the first list. ``was_used``: the checkpoint was reset, so ids may have been used too."""
        history = session.history(entry.whole)
        known = await history.begin()
        timeline = await history.next_timeline() if was_used else known.timeline
        selection = entry.selection(cluster)
        return State(position="", listing=FIRST_LIST, selection=selection, started=known.started, timeline=timeline)

    async def next_timeline(self) -> int:
        """A timeline that nothing under this checkpoint has had. Raises LeadershipLost, Unavailable."""
        return await self.session.history(self.entry.whole).next_timeline(self.state.timeline)

    @property
    def under_way(self) -> int:
        """How many commits may be under way at a time."""
        return self._bus.publisher.under_way

    @property
    def prepared_position(self) -> str:
        """The position of the last commit that was prepared, which may still be under way."""
        return self._ahead[2].position

    def origin(self, *, synthetic: bool = False) -> Origin:
        """The origin of events that are made now."""
        return Origin(
            epoch=self.session.term.number,
            timeline=self.state.timeline,
            time=self.entry.now(),
            synthetic=synthetic,
            cluster=self.session.cluster_name,
            traces=self._traces,
        )

    async def inventory(self) -> dict[str, Inventoried]:
        """Every object known, by uid."""
        return await self._bus.checkpoints.inventory(self.entry.key)

    async def bodies(self, uids: Sequence[str]) -> dict[str, bytes]:
        """The last bodies of objects, by uid, as far as the inventory keeps them. Raises Unavailable."""
        if not (self.entry.keeps_objects and uids):
            return {}
        found = await self._bus.checkpoints.bodies(self.entry.key, uids)
        for body in found.values():
            require_clear(body)
        return found

    async def watch_for_external_changes(self, period: float) -> None:
        """Never return; raise CommitMismatch once another process has changed the checkpoint (reset, set, audit).

        Looks every ``period`` seconds. A commit would detect it too, but a quiet resource may have none for long.
        """
        while True:
            await asyncio.sleep(period)
            before = self.number
            now = await self._bus.checkpoints.checkpoint(self.entry.key)
            if now and now.number != before and before == self.number and self._last.is_set():
                raise CommitMismatch(f"another process moved checkpoint {self.entry.key!r} to commit {now.number}")

    async def wait_for_position(self, version: str) -> None:
        """Return once the position has reached the version."""
        while older(self.state.position, version):
            self._moved.clear()
            await self._moved.wait()

    def override_state(self, **changes: Any) -> None:
        """Replace these fields of the state. The next commit stores them."""
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
        """The next commit: events, changes of the inventory, and the changed fields of the state.

        It follows the last one that was prepared, which may still be under way. Commit all of them, in that order.
        """
        number, token, state = self._ahead
        state = msgspec.structs.replace(state, **changes) if changes else state
        delta = CheckpointDelta(
            follows=number,
            after=token,
            state=state,
            upserts=upserts or {},
            bodies=self.entry.kept(bodies) if bodies else {},
            removals=removals,
            gap=gap,
        )
        self._ahead = number + 1, delta.token, state
        return self._bus.publisher.prepare(Batch(self.entry.key, events, delta), term=self.session.term)

    async def commit(self, events: Sequence[Event] = (), **what: Any) -> None:
        """`prepare`, then `commit_prepared`."""
        await self.commit_prepared(self.prepare(events, **what))

    async def commit_prepared(self, batch: Batch) -> None:
        """Make a batch durable as a whole. Raises CommitMismatch and LeadershipLost: then nothing more can be
        committed.

        Up to `under_way` commits may run at a time, started in their order. Each is sent at once; one that is refused
        is sent again after the one before it is done. While the bus cannot accept it, this reports the problem and
        waits. Repeating is safe because the batch stays the same.
        """
        begun = time.perf_counter()
        before, self._last = self._last, asyncio.Event()
        done, failures = self._last, 0
        while True:
            follows = before.is_set()
            try:
                await self._bus.publisher.commit(batch, term=self.session.term)
                break
            except CommitMismatch:
                if follows:
                    raise
            except Unavailable as e:
                failures += 1
                self.session.problems.report(self._problem, e, code="commit-blocked")
                if self._traces:
                    self._traces.blocked(batch.events, e)
                await asyncio.sleep(BLOCKED.delay(failures))
            await before.wait()
        await before.wait()
        done.set()
        self.session.problems.resolve(self._problem)
        moved = batch.delta.state.position != self.state.position
        self.number, self.state = batch.delta.follows + 1, batch.delta.state
        self.stored = True
        self._moved.set()
        self._count(batch, moved=moved)
        if self._traces:
            self._traces.committed(batch.events, len(batch.events))
        self.session.commit_seconds.observe(time.perf_counter() - begun)

    def _count(self, batch: Batch, *, moved: bool) -> None:
        events, delta = batch.events, batch.delta
        self._events.value += len(events)
        if truncated := sum([event.truncated for event in events]):
            self._truncated.value += truncated
        self.progress.stored(moved=moved, changed=bool(events or delta.upserts or delta.removals))
