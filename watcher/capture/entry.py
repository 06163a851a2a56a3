"""An entry of an EventSource: how the changes of its resource become events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from kubecdc.cluster.changes import Change
from kubecdc.cluster.objects import UNREADABLE, Meta
from kubecdc.cluster.resource import Resource
from kubecdc.storage.contracts import Inventoried, Selection
from kubecdc.storage.contracts.event import SPEC_VERSION, Action, Event, event_id, partition_key, sequence
from kubecdc.watcher import manifest as manifests
from kubecdc.watcher.capture.filter import Filter, created_after, created_before, label_selector
from kubecdc.watcher.capture.projection import Projection
from kubecdc.watcher.capture.traces import Traces

ATTRIBUTES_BYTES = 16 << 10  # of an event without its data: names and ids are far shorter
ACTIONS: dict[str, Action] = {"ADDED": "ADD", "MODIFIED": "UPDATE", "DELETED": "DELETE"}
HEADS = {action: f'{{"type":"{action}","body":'.encode() for action in ACTIONS.values()}  # of ``data``


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where events come from: the leader's epoch, the timeline, when the watcher saw the change (`Entry.now`), the
    name of the cluster, and whether a list was compared with the inventory (``synthetic``) or a watch was read.
    ``traces`` has their spans."""

    epoch: int
    timeline: int
    time: str
    synthetic: bool = False
    cluster: str = ""
    traces: Traces | None = None


@dataclass(frozen=True)
class Removal:
    """An object of the inventory that is gone. ``body`` is its last body, where the inventory keeps bodies;
    ``deselected``: it only left the selection and still exists."""

    uid: str
    known: Inventoried
    body: bytes | None = None
    deselected: bool = False


class Entry:
    """One event name of one EventSource, watched in one namespace ("" = all).

    ``key`` names its checkpoint: ``<source>/<event name>``, followed by the namespace where each has its own watch.
    ``whole`` names all of them together.
    """

    def __init__(
        self,
        source: str,
        name: str,
        manifest: manifests.Entry,
        *,
        namespace: str,
        key: str,
        max_event_bytes: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.source = source
        self.name = name
        self.key = key
        self.whole = f"{source}/{name}"
        self.namespace = namespace
        self.manifest = manifest
        self.filter = Filter(manifest)
        self._projection = Projection(manifest.project)
        self._projects = bool(self._projection)
        self.labels = label_selector(manifest.filter.labels)
        self.resource = Resource(manifest.group, manifest.version, manifest.resource, namespace, self.labels)
        self.keeps_inventory = manifest.inventory != "none"
        self.keeps_objects = manifest.inventory == "objects"
        self.audit_seconds = manifest.audit_interval.total_seconds()
        self._wanted = frozenset(manifest.event_types)
        self._own = self.selection("")
        self._tail = self._tail_of(self._own)
        self._max_event_bytes = max_event_bytes
        self._surely_fits = max_event_bytes - ATTRIBUTES_BYTES  # of data
        self._now = now

    def now(self) -> str:
        """The time as events carry it: RFC 3339, UTC."""
        return self._now().isoformat().replace("+00:00", "Z")

    def selection(self, cluster: str) -> Selection:
        """What a checkpoint of this entry is made for, in the cluster of that uid."""
        m = self.manifest
        return Selection(
            cluster=cluster,
            group=m.group,
            version=m.version,
            resource=m.resource,
            namespace=self.namespace,
            labels=self.labels,
            filters=self.filter.fingerprint,
        )

    def wants(self, action: Action, *, passed: bool) -> bool:
        """Whether an event of that action is sent. ``passed``: its object passed the filters."""
        return passed and action in self._wanted

    def existed_before(self, change: Change, started: str) -> bool:
        """Whether `afterStart` suppresses the object's ADD: it was created before the entry's first start ever."""
        return self.filter.after_start and created_before(change, started)

    def skips(self, change: Change, started: str) -> bool:
        """Whether `initialList: skip` leaves the object out of a first list: it was there when the entry was started
        for the first time. Creation times are whole seconds, so that second counts as before the start."""
        return self.manifest.initial_list == "skip" and not created_after(change, started)

    def kept(self, bodies: Mapping[str, bytes]) -> dict[str, bytes]:
        """The bodies as the inventory has them, by uid. One that cannot be projected is left out."""
        found: dict[str, bytes] = {}
        for uid, body in bodies.items():
            with suppress(*UNREADABLE):
                found[uid] = self._projection.of(body)
        return found

    def inventoried(self, meta: Meta, *, passed: bool) -> Inventoried:
        """The object's record in the inventory."""
        return Inventoried(meta.resource_version, meta.namespace, meta.name, passed)

    def event(
        self,
        action: Action,
        change: Change,
        origin: Origin,
        *,
        at: str = "",
        deselected: bool = False,
        old: bytes | None = None,
    ) -> Event:
        """The event of a change. The object's bytes go into it unchanged, but for what its projection takes away.

        ``at`` is the version that the event is ordered by, if it is not the object's. ``deselected``: the object of
        this DELETE still exists. ``old`` is the body before the change, if known.
        """
        old = old if action == "UPDATE" else None
        return self._event(action, change.meta, origin, self._own, change.body, old, at=at, deselected=deselected)

    def deletion(self, removal: Removal, origin: Origin, selection: Selection, kind: str, *, at: str) -> Event:
        """The DELETE of an object that a list does not have: its id has the last version known.

        ``at`` is the version that the event is ordered by, ``kind`` the object's kind, "" if not known.
        """
        known = removal.known
        meta = Meta(known.name, known.namespace, removal.uid, known.resource_version)
        body = removal.body or _metadata_only(meta, selection, kind)
        return self._event("DELETE", meta, origin, selection, body, at=at, deselected=removal.deselected)

    def _event(
        self,
        action: Action,
        meta: Meta,
        origin: Origin,
        selection: Selection,
        body: bytes,
        old: bytes | None = None,
        *,
        at: str = "",
        deselected: bool = False,
    ) -> Event:
        truncated = False
        try:
            data = self._data(action, body, old, selection)
        except UNREADABLE:  # then it cannot be projected
            truncated, old = True, None
            data = self._data(action, _metadata_only(meta, selection), None, selection)
        event = Event(
            specversion=SPEC_VERSION,
            id=event_id(self.name, meta.uid, meta.resource_version, action, origin.timeline),
            source=self.source,
            subject=self.name,
            type="resource",
            time=origin.time,
            datacontenttype="application/json",
            partitionkey=partition_key(selection.resource, selection.group, meta.namespace, meta.name),
            sequence=sequence(at or meta.resource_version),
            epoch=origin.epoch,
            timeline=origin.timeline,
            synthetic=origin.synthetic,
            deselected=deselected,
            truncated=truncated,
            cluster=origin.cluster,
            data=data,
        )
        if origin.traces:
            event = origin.traces.begun(event)
        if len(event.data) <= self._surely_fits or len(event.encode()) <= self._max_event_bytes:
            return event
        if old is not None:
            event = _truncated(event, self._data(action, body, None, selection))
        if old is None or len(event.encode()) > self._max_event_bytes:
            event = _truncated(event, self._data(action, _metadata_only(meta, selection), None, selection))
        return event

    def _data(self, action: Action, body: bytes, old: bytes | None, selection: Selection) -> msgspec.Raw:
        tail = self._tail if selection is self._own else self._tail_of(selection)
        if self._projects:
            body, old = self._projection.of(body), old and self._projection.of(old)
        return msgspec.Raw(b"".join((HEADS[action], body, b',"oldBody":', old or b"null", tail)))

    def _tail_of(self, selection: Selection) -> bytes:
        """The end of ``data``, after the bodies; it is the same for all events of a selection."""
        tail: dict[str, object] = {
            "group": selection.group,
            "version": selection.version,
            "resource": selection.resource,
        }
        if self.manifest.metadata:
            tail["metadata"] = dict(self.manifest.metadata)
        return b"," + msgspec.json.encode(tail)[1:]


def _truncated(event: Event, data: msgspec.Raw) -> Event:
    return msgspec.structs.replace(event, truncated=True, data=data)


def _metadata_only(meta: Meta, selection: Selection, kind: str = "") -> bytes:
    """A body for an object whose own body is not known, or too large to carry."""
    metadata = {"name": meta.name, "uid": meta.uid, "resourceVersion": meta.resource_version}
    if meta.namespace:
        metadata["namespace"] = meta.namespace
    group, version = selection.group, selection.version
    document: dict[str, object] = {"apiVersion": f"{group}/{version}" if group else version}
    if kind:
        document["kind"] = kind
    return msgspec.json.encode({**document, "metadata": metadata})
