"""The comparison of a list with the inventory, and the events that tell the difference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from kubecdc.cluster.changes import Change, Page
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.objects import Meta
from kubecdc.cluster.resource import Resource
from kubecdc.cluster.versions import before, older
from kubecdc.storage.contracts import Gap, Inventoried, Selection
from kubecdc.storage.contracts.event import Action, Event
from kubecdc.watcher.capture import explanation
from kubecdc.watcher.capture.announced import Announced
from kubecdc.watcher.capture.checkpoint_writer import FIRST_LIST, CheckpointWriter
from kubecdc.watcher.capture.chunks import COMMIT_BYTES, chunks
from kubecdc.watcher.capture.entry import Removal
from kubecdc.watcher.capture.existing import existing_uids
from kubecdc.watcher.capture.namesakes import age, uids_by_name
from kubecdc.watcher.capture.reasons import BACKWARDS, EXPIRIES, SELECTION, STARTS_TIMELINE, RanBackwards

log = structlog.get_logger()
COMMIT_OBJECTS = 250
BODIES = (4, 50)  # objects that end in the first commit, and the most, if the inventory has their last bodies


class Diff:
    """Compares one list with the inventory. ``missing`` shrinks to the objects that the list does not have."""

    def __init__(
        self,
        writer: CheckpointWriter,
        list_watch: ListWatch,
        inventory: dict[str, Inventoried],
        reason: str,
        announced: Announced,
        *,
        resumed: bool = False,
    ) -> None:
        self.writer = writer
        self.list_watch = list_watch
        self.entry = writer.entry
        self.reason = reason
        self.first = reason == FIRST_LIST
        self.resumed = resumed
        self.differs = False
        self.announced = announced
        self.announced.begin()
        self.missing = inventory
        self.by_name = uids_by_name(inventory)
        self.version = ""
        self.kind = ""
        self.synthetic = 0
        self.explained = explanation.of(self.entry)
        self.since = writer.state.position
        # An object that a selector leaves out may still exist: ask the API server about those that are missing.
        self.selects = bool(self.entry.labels) or reason == SELECTION

    async def leave_old_resource(self) -> None:
        """If the entry watched another resource before, announce the end of its objects."""
        old, new = self.writer.state.selection, self.entry.selection(self.writer.state.selection.cluster)
        if (old.group, old.resource) != (new.group, new.resource):
            await self._delete_missing(ListWatch(self.list_watch.cluster, resource_of(old)), at=self.since)
            self.since = ""  # versions of different resources cannot be compared
        if old != new:
            self.selects = True
            await self._commit(selection=new)

    async def leave(self) -> None:
        """Announce the end of every object known."""
        old = ListWatch(self.list_watch.cluster, resource_of(self.writer.state.selection))
        await self._delete_missing(old, at=self.since)

    async def page(self, page: Page) -> None:
        """Compare a page and commit what differs."""
        if older(page.version, self.since) and self.reason != BACKWARDS:
            raise RanBackwards
        self.version, self.kind = page.version, page.kind
        for item in page.left_out:  # it is there, so if an earlier state was captured, it has not ended
            for uid in self.by_name.get((item.meta.namespace, item.meta.name), ()):
                self.missing.pop(uid, None)
        for some, _ in chunks(page.items, COMMIT_OBJECTS):
            await self._compare(some)

    async def _compare(self, changes: Sequence[Change]) -> None:
        """Compare some objects of a page and commit what differs."""
        events: list[Event] = []
        upserts: dict[str, Inventoried] = {}
        removals: set[str] = set()
        bodies = await self.writer.bodies(self._known_before(changes))
        routine = self.reason in EXPIRIES  # then the bodies of objects that have not changed are there
        for change in changes:
            meta = change.meta
            known = self.missing.pop(meta.uid, None)
            for predecessor in self.by_name.get((meta.namespace, meta.name), ()):
                if predecessor not in self.missing:
                    continue
                # Same name, other uid: in their lane, the DELETE of the old one comes before the ADD of the new one.
                removal = Removal(predecessor, self.missing.pop(predecessor), bodies.get(predecessor))
                events += self._deletion(removal, at=before(meta.resource_version))
                removals.add(predecessor)
            passed = self.entry.filter.passes(change)
            now = self.entry.inventoried(meta, passed=passed)
            if self.entry.keeps_inventory and (now != known or (self.entry.keeps_objects and not routine)):
                upserts[meta.uid] = now
            events += self._difference(change, known, passed=passed, old=bodies.get(meta.uid))
        if events or upserts or removals:
            last = {c.meta.uid: c.body for c in changes if c.meta.uid in upserts} if self.entry.keeps_objects else {}
            await self._commit(events, upserts=upserts, bodies=last, removals=frozenset(removals))
        if not self.entry.keeps_inventory:
            self.announced.add(changes, self.version, self.writer.state.timeline)

    async def _commit(self, events: Sequence[Event] = (), **what: Any) -> None:
        """Commit a difference, the first one after the mark."""
        self.differs = True
        if self.writer.state.listing != self.reason:
            await self.writer.commit(listing=self.reason)
        if self.explained:
            for event in events:
                self.explained.captured(event)
        await self.writer.commit(events, **what)

    def _known_before(self, changes: Sequence[Change]) -> list[str]:
        """The uids in the inventory that they have, or whose names they have."""
        here = {change.meta.uid for change in changes}
        named = {uid for c in changes for uid in self.by_name.get((c.meta.namespace, c.meta.name), ())}
        return [uid for uid in here | named if uid in self.missing]

    async def finish(self) -> Gap | None:
        """Announce the objects that are gone, and set the position to the list's version. Returns the gap, if any."""
        if self.reason != BACKWARDS and any(older(self.version, k.resource_version) for k in self.missing.values()):
            raise RanBackwards  # an earlier attempt has seen what is not there yet
        await self._delete_missing(self.list_watch if self.selects else None, at=self.version)
        gap = None
        # A first list that was interrupted has a gap too: what changed before this one.
        missed = self.version != self.since or self.synthetic
        if missed and (self.resumed or not self.first):
            now = datetime.now(UTC).isoformat()
            gap = Gap(self.reason, self.since, self.version, now, self.synthetic)
        await self.writer.commit(position=self.version, listing="", gap=gap)
        self.announced.clear()
        log.info("listed", code="listed", watch=self.entry.key, version=self.version, synthetic=self.synthetic)
        return gap

    def _difference(self, change: Change, known: Inventoried | None, *, passed: bool, old: bytes | None) -> list[Event]:
        """The event that brings consumers from the state they know to the object's current one, if any."""
        version = change.meta.resource_version
        backwards = self.reason == BACKWARDS
        left = self.entry.keeps_objects and known is not None and known.passed and not passed
        # An intended object may have been announced or not: announce it again.
        if known is None or (known.intended and not left):
            if self.first and self.entry.skips(change, self.writer.state.started):
                return self._left_out(change, "initialList")
            seen = known is None and (version == self.since or older(version, self.since))
            if seen and not (self.first or self.entry.keeps_inventory or backwards):
                return []  # without an inventory only the version shows what is new
            if not self.entry.keeps_inventory and self.announced.has(change.meta, self.writer.state.timeline):
                return []
            if seen and self.entry.keeps_inventory and self.reason in EXPIRIES:
                raise RanBackwards  # it existed before our position and we did not know it: only a restore does that
            if self.entry.existed_before(change, self.writer.state.started):
                return self._left_out(change, "filter.afterStart")
            return self._event("ADD", change, passed=passed, synthetic=not self.first)
        if older(version, known.resource_version) and not backwards:
            raise RanBackwards
        if left:
            return self._event("DELETE", change._replace(body=old or change.body), passed=True, synthetic=True)
        if version == known.resource_version and passed == known.passed and not backwards:
            return []
        return self._event("UPDATE", change, passed=passed, synthetic=True, old=old)

    def _event(
        self, action: Action, change: Change, *, passed: bool, synthetic: bool, old: bytes | None = None
    ) -> list[Event]:
        if not self.entry.wants(action, passed=passed):
            if self.explained:
                self.explained.unwanted(action, change, passed=passed)
            return []
        self.synthetic += synthetic
        origin, deselected = self.writer.origin(synthetic=synthetic), action == "DELETE"  # it is in the list
        return [self.entry.event(action, change, origin, deselected=deselected, old=old)]

    def _left_out(self, change: Change, reason: str) -> list[Event]:
        if self.explained:
            self.explained.left_out("ADD", change, reason)
        return []

    def _deletion(self, removal: Removal, at: str) -> list[Event]:
        if not self.entry.wants("DELETE", passed=removal.known.passed):
            return []
        self.synthetic += 1
        origin, selection = self.writer.origin(synthetic=True), self.writer.state.selection
        known = removal.known.resource_version
        # An interrupted list may have seen it after the position. In a new timeline its version says nothing.
        if not at or (older(at, known) and self.reason not in STARTS_TIMELINE):
            at = known
        return [self.entry.deletion(removal, origin, selection, self.kind, at=at)]

    async def _delete_missing(self, list_watch: ListWatch | None, at: str) -> None:
        """Announce the end of all missing objects. ``list_watch`` is asked which of them still exist."""
        # Two objects of one name end in the order in which they were made.
        ended = sorted(self.missing.items(), key=lambda item: age(item[1]))
        self.missing.clear()
        count, most = BODIES if self.entry.keeps_objects else (COMMIT_OBJECTS, COMMIT_OBJECTS)
        while ended:
            some, ended = ended[:count], ended[count:]
            existing = await self._existing(list_watch, some)
            bodies = await self.writer.bodies([uid for uid, _ in some])
            events: list[Event] = []
            for uid, known in some:
                events += self._deletion(Removal(uid, known, bodies.get(uid), uid in existing), at)
            await self._commit(events, removals=frozenset(uid for uid, _ in some))
            if size := sum(map(len, bodies.values())):  # as many as fit into a commit
                count = max(1, min(most, 2 * count, count * COMMIT_BYTES // size))

    async def _existing(self, list_watch: ListWatch | None, some: list[tuple[str, Inventoried]]) -> frozenset[str]:
        if list_watch is None:
            return frozenset()
        metas = [Meta(known.name, known.namespace, uid) for uid, known in some]
        return await existing_uids(list_watch, metas, self.writer.session.problems)


def resource_of(selection: Selection) -> Resource:
    """The resource that a checkpoint was made for."""
    s = selection
    return Resource(s.group, s.version, s.resource, s.namespace, s.labels)
