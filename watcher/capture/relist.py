"""The list: the first one, and the repair of a gap by diffing a list against the inventory.

The checkpoint is marked `listing` first and unmarked, with the list's version as position, last. In between each page
commits its events and inventory together; whoever finds the mark lists again and diffs, and resumes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import structlog

from kubecdc.cluster.changes import Change, Page
from kubecdc.cluster.list_watch import Api
from kubecdc.cluster.objects import Meta
from kubecdc.cluster.resource import Resource
from kubecdc.cluster.versions import before, older
from kubecdc.storage.contracts import Gap, Inventoried, Selection
from kubecdc.storage.contracts.event import Action, Event
from kubecdc.watcher.capture.checkpoint_writer import FIRST_LIST, Journal
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.existing import still_there
from kubecdc.watcher.ongoing_problems import Notices

log = structlog.get_logger()

LEFT = "no longer watched"
BACKWARDS = "versions ran backwards"  # a restored etcd: an equal version may hide other content
EXPIRED = "history expired"
SELECTION = "another selection"
CLOSED = "the API server closes each watch at once"
DIFFERS = "the audit found differences"  # a restored etcd whose versions have grown past ours looks like that
PAGE_BYTES = 4 << 20
PAGE_OBJECTS = (50, 500)
COMMIT_OBJECTS = 500


class RanBackwards(Exception):
    """The list, or an object in it, is older than what was seen before."""


async def relist(journal: Journal, api: Api, reason: str, notices: Notices) -> Gap | None:
    """List everything, announce what differs from the inventory, and set the position. None: no gap.

    Raises Expired when the pages outlive the server's history (list anew), ApiError, Malformed, CommitMismatch.
    """
    inventory = await journal.inventory()
    told = {uid: known for uid, known in inventory.items() if not known.intended}
    if len(names(told)) < len(told):
        # Two of one name: the old one is undone by a restore that nobody noticed, its successor was made since.
        reason = BACKWARDS
    resumed = journal.stored and journal.state.listing == reason
    if not resumed:
        starts_timeline = reason in {BACKWARDS, DIFFERS}
        await journal.commit(listing=reason, timeline=journal.state.timeline + starts_timeline)
    log.info("listing", watch=journal.entry.key, reason=reason, path=api.resource.path)
    diff = Diff(journal, api, inventory, reason, notices, resumed=resumed)
    await diff.leave_old_resource()
    async for page in pages(api):
        await diff.page(page)
    return await diff.finish()


async def leave(journal: Journal, api: Api, notices: Notices) -> None:
    """The selection has come to its end, and the checkpoint is marked LEFT: announce the end of every object known.

    Raises ApiError, CommitMismatch.
    """
    diff = Diff(journal, api, await journal.inventory(), LEFT, notices, resumed=False)
    await diff.leave()


async def pages(api: Api) -> AsyncIterator[Page]:
    """A consistent list, page by page. Raises Expired if it outlives the server's history."""
    low, high = PAGE_OBJECTS
    limit, token = low, ""
    while True:
        page = await api.page(limit, token)
        yield page
        if not page.next:
            return
        token = page.next
        # As many as fit a few megabytes, so that large objects do not fill the memory.
        limit = max(low, min(high, limit * PAGE_BYTES // max(page.size, 1)))


class Diff:
    """One pass over a list. ``missing`` shrinks to what the list does not have."""

    def __init__(
        self,
        journal: Journal,
        api: Api,
        inventory: dict[str, Inventoried],
        reason: str,
        notices: Notices,
        *,
        resumed: bool,
    ) -> None:
        self.journal = journal
        self.api = api
        self.notices = notices
        self.entry: Entry = journal.entry
        self.reason = reason
        self.first = reason == FIRST_LIST
        self.resumed = resumed
        self.missing = inventory
        self.by_name = names(inventory)
        self.version = ""
        self.kind = ""
        self.synthetic = 0
        self.since = journal.state.position
        # Out of a selection is not out of the world: of what such a list misses, the API is asked.
        self.selects = bool(self.entry.labels) or reason == SELECTION

    async def leave_old_resource(self) -> None:
        """The entry watched another resource before: those objects are out of the selection, in their own lanes."""
        old, new = self.journal.state.selection, self.entry.selection(self.journal.state.selection.cluster)
        if (old.group, old.resource) != (new.group, new.resource):
            await self._delete_missing(Api(self.api.cluster, of(old)), at=self.since)
            self.since = ""  # versions of different resources may not be compared
        if old != new:
            self.selects = True
            await self.journal.commit(selection=new)

    async def leave(self) -> None:
        """Every object known is out of the selection now."""
        await self._delete_missing(Api(self.api.cluster, of(self.journal.state.selection)), at=self.since)

    async def page(self, page: Page) -> None:
        """Compare a page and commit what differs."""
        if older(page.version, self.since) and self.reason != BACKWARDS:
            raise RanBackwards
        self.version, self.kind = page.version, page.kind
        events: list[Event] = []
        upserts: dict[str, Inventoried] = {}
        removals: set[str] = set()
        bodies = await self.journal.bodies(self._known_before(page))
        for change in page.items:
            meta = change.meta
            known = self.missing.pop(meta.uid, None)
            for predecessor in self.by_name.get((meta.namespace, meta.name), ()):
                if predecessor not in self.missing:
                    continue
                # Same name, other uid: the old one's end comes before the new one's beginning, in one lane.
                known_before, at = self.missing.pop(predecessor), before(meta.resource_version)
                events += self._deletion(predecessor, known_before, at, body=bodies.get(predecessor))
                removals.add(predecessor)
            passed = self.entry.filter.passes(change)
            now = self.entry.inventoried(meta, passed=passed)
            if self.entry.keeps_objects or (self.entry.keeps_inventory and now != known):
                upserts[meta.uid] = now
            events += self._difference(change, known, passed=passed, old=bodies.get(meta.uid))
        last = {c.meta.uid: c.body for c in page.items} if self.entry.keeps_objects else {}
        await self.journal.commit(events, upserts=upserts, bodies=last, removals=frozenset(removals))

    def _known_before(self, page: Page) -> list[str]:
        """The uids on the page, and those whose names it has, that are in the inventory."""
        here = {change.meta.uid for change in page.items}
        named = {uid for c in page.items for uid in self.by_name.get((c.meta.namespace, c.meta.name), ())}
        return [uid for uid in here | named if uid in self.missing]

    async def finish(self) -> Gap | None:
        """Announce what is gone and set the position to the list's version; the watch goes on from there."""
        await self._delete_missing(self.api if self.selects else None, at=self.version)
        gap = None
        # A first list that was begun before has a gap too: what changed between the two.
        missed = self.version != self.since or self.synthetic
        if missed and (self.resumed or not self.first):
            now = datetime.now(UTC).isoformat()
            gap = Gap(self.reason, self.since, self.version, now, self.synthetic)
        await self.journal.commit(position=self.version, listing="", gap=gap)
        log.info("listed", watch=self.entry.key, version=self.version, synthetic=self.synthetic)
        return gap

    def _difference(self, change: Change, known: Inventoried | None, *, passed: bool, old: bytes | None) -> list[Event]:
        """The event that takes consumers from what they know of the object to what it is now, if any."""
        version = change.meta.resource_version
        backwards = self.reason == BACKWARDS
        if known is None or known.intended:  # of the latter nobody knows whether it was told: it is told again
            if self.first and self.entry.skips_first_list:
                return []
            seen = known is None and (version == self.since or older(version, self.since))
            if seen and not (self.first or self.entry.keeps_inventory or backwards):
                return []  # without an inventory only the version tells what is new
            if seen and self.entry.keeps_inventory and self.reason in {EXPIRED, CLOSED}:
                raise RanBackwards  # it was there all the time, and then not: only a restore does that
            if self.entry.was_there(change, self.journal.state.started):
                return []
            return self._event("ADD", change, passed=passed, synthetic=not self.first)
        if older(version, known.resource_version) and not backwards:
            raise RanBackwards
        if version == known.resource_version and passed == known.passed and not backwards:
            return []
        return self._event("UPDATE", change, passed=passed, synthetic=True, old=old)

    def _event(
        self, action: Action, change: Change, *, passed: bool, synthetic: bool, old: bytes | None = None
    ) -> list[Event]:
        if not self.entry.wants(action, passed=passed):
            return []
        self.synthetic += synthetic
        term, timeline = self.journal.term, self.journal.state.timeline
        return [self.entry.event(action, change, term, timeline, synthetic=synthetic, old=old)]

    def _deletion(
        self, uid: str, known: Inventoried, at: str, *, deselected: bool = False, body: bytes | None = None
    ) -> list[Event]:
        if not self.entry.wants("DELETE", passed=known.passed):
            return []
        self.synthetic += 1
        state = self.journal.state
        event = self.entry.deletion(
            uid,
            known,
            state.selection,
            self.kind,
            at=at or known.resource_version,
            term=self.journal.term,
            timeline=state.timeline,
            deselected=deselected,
            body=body,
        )
        return [event]

    async def _delete_missing(self, api: Api | None, at: str) -> None:
        """Announce the end of all that is missing; with an `api`, ask it whether that is an end of the object too."""
        # Two of one name end in the order in which they were.
        ended = sorted(self.missing.items(), key=lambda item: _age(item[1]))
        self.missing.clear()
        for start in range(0, len(ended), COMMIT_OBJECTS):
            some = ended[start : start + COMMIT_OBJECTS]
            metas = [Meta(known.name, known.namespace, uid) for uid, known in some]
            there = await still_there(api, metas, self.notices) if api else frozenset[str]()
            bodies = await self.journal.bodies([uid for uid, _ in some])
            events: list[Event] = []
            for uid, known in some:
                events += self._deletion(uid, known, at, deselected=uid in there, body=bodies.get(uid))
            await self.journal.commit(events, removals=frozenset(uid for uid, _ in some))


def names(inventory: dict[str, Inventoried]) -> dict[tuple[str, str], list[str]]:
    """The uids under each name, in the order in which they had it."""
    found: dict[tuple[str, str], list[str]] = {}
    for uid, known in inventory.items():
        namesakes = found.setdefault((known.namespace, known.name), [])
        namesakes.append(uid)
        if len(namesakes) > 1:
            namesakes.sort(key=lambda uid: _age(inventory[uid]))
    return found


def _age(known: Inventoried) -> tuple[int, str]:
    return len(known.resource_version), known.resource_version


def of(selection: Selection) -> Resource:
    """The resource that a checkpoint was made for."""
    s = selection
    return Resource(s.group, s.version, s.resource, s.namespace, s.labels)
