"""The main path of the watcher, for one entry: checkpoint -> list or resume -> changes -> events -> commit."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import structlog

from kubecdc.backoff import Backoff
from kubecdc.cluster.changes import Change
from kubecdc.cluster.errors import ApiError, Expired, Malformed
from kubecdc.cluster.list_watch import WATCH_SECONDS, Api, Silence
from kubecdc.cluster.versions import older
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Batch, Bus, Inventoried, Term
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.contracts.event import Event
from kubecdc.watcher import metrics
from kubecdc.watcher.audit.auditor import Auditor, Differs
from kubecdc.watcher.capture.checkpoint_writer import Journal
from kubecdc.watcher.capture.entry import ACTIONS, Entry
from kubecdc.watcher.capture.existing import still_there
from kubecdc.watcher.capture.gap import report
from kubecdc.watcher.capture.identity import Identity
from kubecdc.watcher.capture.relist import BACKWARDS, CLOSED, DIFFERS, EXPIRED, SELECTION, RanBackwards, relist
from kubecdc.watcher.ongoing_problems import Notices

log = structlog.get_logger()

BATCH = 100  # events a commit; larger is slower on every back end
BACKOFF = Backoff(duration=0.8, factor=2.0, cap=30.0, jitter=0.5)
INSTANT_SECONDS, INSTANT_CLOSES = 1.0, 3
HEED_SECONDS = 5.0  # between two looks at a checkpoint that somebody else may have moved


Commits = asyncio.Queue[Batch]  # ready to be made, in that order


class Watch:
    """Captures one entry for as long as the term lasts.

    ``timelines``: the latest timeline of each watch that this process has seen, in this term or before.
    """

    def __init__(
        self,
        entry: Entry,
        api: Api,
        bus: Bus,
        term: Term,
        identity: Identity,
        notices: Notices,
        timelines: dict[str, int] | None = None,
    ) -> None:
        self.entry = entry
        self.api = api
        self.bus = bus
        self.term = term
        self.identity = identity
        self.notices = notices
        self.timelines = {} if timelines is None else timelines
        self.failures = 0  # in a row, without a line from the watch
        self.closes = 0  # instant ones, in a row
        self.lines = 0  # of the last watch
        self.suspicion = ""  # why history is taken to be missing, though the checkpoint does not say so yet
        self.auditor = Auditor(entry)
        self._changes = {kind: metrics.CHANGES.labels(entry.key, kind) for kind in (*ACTIONS, "BOOKMARK")}

    async def run(self) -> None:
        """For ever. Raises LeadershipLost, and Refused where only an operator can decide."""
        while True:
            try:
                await self.once()
            except Expired:
                self.suspicion = EXPIRED
                await self.pause()
            except RanBackwards:
                self.suspicion = BACKWARDS
                await self.pause()
            except Differs:
                self.suspicion = DIFFERS
            except CommitMismatch as e:
                log.warning("reloading the checkpoint", watch=self.entry.key, reason=str(e))
                await self.pause()
            except Silence:
                log.info("silent watch closed, resuming", watch=self.entry.key)
            except (ApiError, Malformed, Unavailable) as e:
                await self.back_off(e)

    async def once(self) -> None:
        """From the checkpoint to the end of one watch stream."""
        cluster = await self.identity.cluster()
        journal = await Journal.open(self.entry, self.bus, self.term, self.notices, cluster=cluster)
        await self.identity.require_same(journal, cluster)
        try:
            reason = await self.due(journal)
            if reason:
                gap = await relist(journal, self.api, reason, self.notices)
                self.suspicion = ""
                self.auditor.repaired()
                if gap is not None:
                    await report(gap, self.entry, self.api.cluster, self.notices)
            await first_of(self.follow(journal), self.auditor.run(journal, self.api), journal.heed(HEED_SECONDS))
        finally:
            self.timelines[self.entry.key] = journal.state.timeline

    async def due(self, journal: Journal) -> str:
        """Why a list is due before a watch may go on from the position; "" if none is."""
        seen = self.timelines.get(self.entry.key, 0)
        if journal.stored and journal.state.timeline < seen:
            # The store came back older than it was, to before a restore of etcd that we had noticed; the versions may
            # have grown past by now, and then nobody notices it again. (Without a state, it was reset by hand.)
            journal.assume(timeline=seen, listing="")
            return BACKWARDS
        state = journal.state
        if self.suspicion == BACKWARDS or state.listing == BACKWARDS:
            return BACKWARDS
        if state.listing:
            return state.listing
        if self.suspicion:
            return self.suspicion
        if state.selection != self.entry.selection(state.selection.cluster):
            return SELECTION
        # A watch from a version that does not exist yet is accepted and stays silent for ever.
        newest = await self.api.page(limit=1)
        if older(newest.version, state.position):
            return BACKWARDS
        return ""

    async def follow(self, journal: Journal) -> None:
        """Watch from the position and commit what comes: little at a time when idle, much under load, no timer."""
        lasted = await self.stream(journal, self.api.watch(journal.state.position))
        if lasted < WATCH_SECONDS[0]:
            # Ended before its time: the server was restarted, or etcd put back. If nobody was refused meanwhile (we
            # slept, or it was quick), and versions have grown past ours, this is the only trace.
            self.auditor.soon()
        if self.closed_at_once(lasted):
            raise ApiError("the API server closed the watch at once")

    async def stream(self, journal: Journal, changes: AsyncGenerator[list[Change]], until: str = "") -> float:
        """Commit the changes of one watch, until it ends or has come to the version `until`. How long it lasted."""
        opened = time.monotonic()
        commits: Commits = asyncio.Queue(maxsize=1)
        makers = (make(journal, commits) for _ in range(journal.under_way))
        await first_of(self.read(journal, changes, commits, until), *makers)
        return time.monotonic() - opened

    def closed_at_once(self, lasted: float) -> bool:
        """Whether the last watch ended as soon as it was opened; if that goes on, history is taken to be missing."""
        if self.lines or lasted >= INSTANT_SECONDS:
            return False
        self.closes += 1
        if self.closes >= INSTANT_CLOSES:
            # An expired watch on `events` gives no error, only this (kubernetes/kubernetes#104171).
            self.suspicion, self.closes = CLOSED, 0
        return True

    async def read(
        self, journal: Journal, watched: AsyncGenerator[list[Change]], commits: Commits, until: str = ""
    ) -> None:
        """Read to the end of the stream, and make the next commit ready while one is under way."""
        self.lines = 0
        try:
            async with aclosing(watched) as stream:
                async for changes in stream:
                    self.notices.over(self.entry.key)
                    self.lines += len(changes)
                    if self.lines:
                        self.failures = self.closes = 0
                    for some in evenly(changes, BATCH):
                        if self.entry.keeps_objects:
                            await commits.join()  # the last bodies are those of the commit before
                        await commits.put(await self.capture(journal, some))
                    if until and changes and not older(changes[-1].meta.resource_version, until):
                        break
        except Exception:
            await commits.join()  # what came before the end of the stream counts
            raise
        await commits.join()

    async def capture(self, journal: Journal, changes: Sequence[Change]) -> Batch:
        """One commit: the events that pass, what the inventory learns, and how far we have read."""
        events: list[Event] = []
        seen = self.entry.now()
        upserts: dict[str, Inventoried] = {}
        removals: set[str] = set()
        deleted = [change.meta for change in changes if change.type == "DELETED"] if self.entry.labels else []
        there = await still_there(self.api, deleted, self.notices)
        bodies = await journal.bodies([change.meta.uid for change in changes if change.type == "MODIFIED"])
        for change in changes:
            if change.type == "BOOKMARK":
                continue
            action, uid = ACTIONS[change.type], change.meta.uid
            passed = self.entry.filter.passes(change)
            if action == "DELETE":
                removals.add(uid)
            elif self.entry.keeps_inventory:
                removals.discard(uid)
                upserts[uid] = self.entry.inventoried(change.meta, passed=passed)
            old = bodies.get(uid)
            if self.entry.keeps_objects:
                bodies[uid] = change.body
            if not self.entry.wants(action, passed=passed):
                continue
            if action == "ADD" and self.entry.was_there(change, journal.state.started):
                continue
            deselected = action == "DELETE" and uid in there
            timeline = journal.state.timeline
            events.append(
                self.entry.event(action, change, self.term, timeline, seen=seen, deselected=deselected, old=old)
            )
        for kind, count in Counter(change.type for change in changes).items():
            self._changes[kind].inc(count)
        position = changes[-1].meta.resource_version
        last = {uid: bodies[uid] for uid in upserts if uid in bodies and uid not in removals}
        return journal.prepare(events, upserts=upserts, bodies=last, removals=frozenset(removals), position=position)

    async def pause(self) -> None:
        """Go on at once after what is routine, but not again and again."""
        self.failures += 1
        if self.failures > 1:
            await asyncio.sleep(BACKOFF.delay(self.failures - 1))

    async def back_off(self, error: ApiError | Malformed | Unavailable) -> None:
        """Say what is wrong, once, and wait."""
        self.failures += 1
        self.notices.trouble(self.entry.key, error)
        delay = BACKOFF.delay(self.failures)
        if isinstance(error, ApiError):
            metrics.ERRORS.labels(self.entry.key, str(error.status)).inc()
            delay = max(delay, error.retry_after)
            self.auditor.soon()
        await asyncio.sleep(delay)
        if isinstance(error, ApiError) and error.status == 401:
            with suppress(ApiError):  # it says so itself at the next request
                await self.api.cluster.refresh()


def evenly(changes: Sequence[Change], most: int) -> Iterator[Sequence[Change]]:
    """The changes in as few pieces as it takes, none of them much smaller: a commit costs, however little is in it."""
    if changes:
        size = math.ceil(len(changes) / math.ceil(len(changes) / most))
        for start in range(0, len(changes), size):
            yield changes[start : start + size]


async def make(journal: Journal, commits: Commits) -> None:
    """Make the commits in their turn, for ever. Raises CommitMismatch, LeadershipLost."""
    while True:
        await journal.make(await commits.get())
        commits.task_done()


async def first_of(*sides: Coroutine[Any, Any, None]) -> None:
    """Run all until the first has ended, and end as it did; the others are cancelled and gone."""
    tasks = [asyncio.create_task(side) for side in sides]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
