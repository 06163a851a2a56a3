"""Turns changes into one commit: events, changes of the inventory, and the new position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kubecdc.cluster.changes import Change
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.versions import older
from kubecdc.storage.contracts import Batch, Inventoried
from kubecdc.storage.contracts.event import Event
from kubecdc.watcher import metrics
from kubecdc.watcher.capture import explanation
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.entry import ACTIONS, Entry
from kubecdc.watcher.capture.existing import existing_uids

NONE: frozenset[str] = frozenset()


class Batcher:
    """Prepares the commits of one entry."""

    def __init__(self, entry: Entry, list_watch: ListWatch) -> None:
        self._entry = entry
        self._list_watch = list_watch
        self._filtered = metrics.of(metrics.FILTERED, entry.key)
        self._explained = explanation.of(entry)
        self._counts = {kind: metrics.of(metrics.CHANGES, entry.key, kind) for kind in (*ACTIONS, "BOOKMARK")}

    async def prepare(self, writer: CheckpointWriter, changes: Sequence[Change]) -> Batch:
        """One commit of all the changes. The position moves on, whether or not any becomes an event, and never back.

        Aggregated servers may send a change under an older version, such as a DELETED under the object's last one. Its
        event is ordered by the position, because a sequence must not fall. Raises ApiError, Malformed, Unavailable.
        """
        entry, origin = self._entry, writer.origin()
        events: list[Event] = []
        upserts: dict[str, Inventoried] = {}
        removals: set[str] = set()
        deleted = [change.meta for change in changes if change.type == "DELETED"] if entry.labels else []
        existing = await existing_uids(self._list_watch, deleted, writer.session.problems) if deleted else NONE
        modified = [change.meta.uid for change in changes if change.type == "MODIFIED"] if entry.keeps_objects else []
        bodies = await writer.bodies(modified) if modified else {}
        position, explained = writer.prepared_position, self._explained
        for kind, count in Counter([change.type for change in changes]).items():
            self._counts[kind].value += count
        for change in changes:
            late = older(change.meta.resource_version, position)
            if not late:
                position = change.meta.resource_version
            if change.type == "BOOKMARK":
                continue
            action, uid = ACTIONS[change.type], change.meta.uid
            passed = entry.filter.passes(change)
            if action == "DELETE":
                removals.add(uid)
            elif entry.keeps_inventory:
                removals.discard(uid)
                upserts[uid] = entry.inventoried(change.meta, passed=passed)
            old = bodies.get(uid)
            if entry.keeps_objects:
                bodies[uid] = change.body
            told, deselected = change, action == "DELETE" and uid in existing
            if action == "UPDATE" and not passed and old is not None:
                before = change._replace(body=old)
                if entry.filter.passes(before):  # then it ends, as an object whose labels do not match any more
                    action, told, passed, deselected = "DELETE", before, True, True
            if not entry.wants(action, passed=passed):
                self._filtered.value += 1
                if explained:
                    explained.unwanted(action, change, passed=passed)
                continue
            if action == "ADD" and entry.existed_before(change, writer.state.started):
                self._filtered.value += 1
                if explained:
                    explained.left_out(action, change, "filter.afterStart")
                continue
            at = position if late else ""
            events.append(entry.event(action, told, origin, at=at, deselected=deselected, old=old))
        if explained:
            for event in events:
                explained.captured(event)
        last = {uid: bodies[uid] for uid in upserts if uid in bodies and uid not in removals} if bodies else {}
        return writer.prepare(events, upserts=upserts, bodies=last, removals=frozenset(removals), position=position)
