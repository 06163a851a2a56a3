"""An entry of an EventSource: how the changes of its resource become events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from kubecdc.cluster.changes import Change
from kubecdc.cluster.objects import Meta
from kubecdc.storage.contracts import Inventoried, Selection, Term
from kubecdc.storage.contracts.event import SPEC_VERSION, Action, Event, event_id, partition_key, sequence
from kubecdc.watcher import manifest as manifests
from kubecdc.watcher.capture.filter import Filter, created_before, label_selector

ACTIONS: dict[str, Action] = {"ADDED": "ADD", "MODIFIED": "UPDATE", "DELETED": "DELETE"}


class Entry:
    """One event name of one EventSource, watched in one namespace ("" = all).

    ``key`` names its checkpoint: ``<source>/<event name>``, with the namespace where several are watched apart.
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
        self.namespace = namespace
        self.manifest = manifest
        self.filter = Filter(manifest)
        self.labels = label_selector(manifest.filter.labels)
        self.keeps_inventory = manifest.inventory != "none"
        self.keeps_objects = manifest.inventory == "objects"
        self.skips_first_list = manifest.initial_list == "skip"
        self.audit_seconds = manifest.audit_interval.total_seconds()
        self._wanted = frozenset(manifest.event_types)
        self._own = self.selection("")
        self._tail = self._tail_of(self._own)
        self._max_event_bytes = max_event_bytes
        self._now = now

    def now(self) -> str:
        """The time, as events carry it."""
        return self._now().isoformat().replace("+00:00", "Z")

    def selection(self, cluster: str) -> Selection:
        """What a checkpoint of this entry is made for."""
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
        """Whether such an event is let out."""
        return passed and action in self._wanted

    def was_there(self, change: Change, started: str) -> bool:
        """Whether afterStart keeps the object's ADD back: it was created before the entry's first start ever."""
        return self.filter.after_start and created_before(change, started)

    def inventoried(self, meta: Meta, *, passed: bool) -> Inventoried:
        """What the inventory remembers of the object."""
        return Inventoried(meta.resource_version, meta.namespace, meta.name, passed)

    def event(
        self,
        action: Action,
        change: Change,
        term: Term,
        timeline: int,
        *,
        seen: str = "",
        synthetic: bool = False,
        deselected: bool = False,
        old: bytes | None = None,
    ) -> Event:
        """The event of a change; the object's bytes go into it untouched. ``old`` is the body before, if known.

        ``seen`` is when the watcher saw it, as `now` says it; now if it is not given.
        """
        return self._event(
            action,
            change.meta,
            change.body,
            old=old if action == "UPDATE" else None,
            selection=self._own,
            version=change.meta.resource_version,
            at=change.meta.resource_version,
            seen=seen or self.now(),
            term=term,
            timeline=timeline,
            synthetic=synthetic,
            deselected=deselected,
        )

    def deletion(
        self,
        uid: str,
        known: Inventoried,
        selection: Selection,
        kind: str,
        *,
        at: str,
        term: Term,
        timeline: int,
        deselected: bool,
        body: bytes | None = None,
    ) -> Event:
        """The synthetic DELETE of an object that is gone: its last known version in the id, `at` as its sequence."""
        meta = Meta(known.name, known.namespace, uid, known.resource_version)
        return self._event(
            "DELETE",
            meta,
            body or _stump(meta, selection.group, selection.version, kind),
            old=None,
            selection=selection,
            version=known.resource_version,
            at=at,
            seen=self.now(),
            term=term,
            timeline=timeline,
            synthetic=True,
            deselected=deselected,
        )

    def _event(
        self,
        action: Action,
        meta: Meta,
        body: bytes,
        *,
        old: bytes | None,
        selection: Selection,
        version: str,
        at: str,
        seen: str,
        term: Term,
        timeline: int,
        synthetic: bool,
        deselected: bool,
    ) -> Event:
        truncated = len(body) + len(old or b"") > self._max_event_bytes
        if truncated:
            old = None
        if len(body) > self._max_event_bytes:
            body = _stump(meta, selection.group, selection.version, "")
        return Event(
            specversion=SPEC_VERSION,
            id=event_id(self.name, meta.uid, version, action, timeline),
            source=self.source,
            subject=self.name,
            type="resource",
            time=seen,
            datacontenttype="application/json",
            partitionkey=partition_key(selection.resource, selection.group, meta.namespace, meta.name),
            sequence=sequence(at),
            epoch=term.number,
            timeline=timeline,
            synthetic=synthetic,
            deselected=deselected,
            truncated=truncated,
            data=self._data(action, body, old, selection),
        )

    def _data(self, action: Action, body: bytes, old: bytes | None, selection: Selection) -> msgspec.Raw:
        tail = self._tail if selection is self._own else self._tail_of(selection)
        head = b'{"type":"' + action.encode() + b'","body":'
        return msgspec.Raw(b"".join((head, body, b',"oldBody":', old or b"null", tail)))

    def _tail_of(self, selection: Selection) -> bytes:
        """What follows the bodies in ``data``, the same for all events of a selection."""
        tail: dict[str, object] = {
            "group": selection.group,
            "version": selection.version,
            "resource": selection.resource,
        }
        if self.manifest.metadata:
            tail["metadata"] = dict(self.manifest.metadata)
        return b"," + msgspec.json.encode(tail)[1:]


def _stump(meta: Meta, group: str, version: str, kind: str) -> bytes:
    """What is left of an object whose body is not known, or too large to carry."""
    metadata = {"name": meta.name, "uid": meta.uid, "resourceVersion": meta.resource_version}
    if meta.namespace:
        metadata["namespace"] = meta.namespace
    document: dict[str, object] = {"apiVersion": f"{group}/{version}" if group else version}
    if kind:
        document["kind"] = kind
    return msgspec.json.encode({**document, "metadata": metadata})
