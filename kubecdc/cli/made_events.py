"""Events for `kubecdc try`, as a watcher would make them: of an object in the cluster, or of one that is made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from kubecdc.cluster.changes import Change
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.objects import decode_object
from kubecdc.cluster.resource import Resource
from kubecdc.errors import UsageError
from kubecdc.storage.contracts.event import Action, Event
from kubecdc.watcher.capture.entry import ACTIONS, Entry, Origin
from kubecdc.watcher.manifest import Entry as Manifest
from kubecdc.watcher.manifest import EventSource, entries_of

ANY_SIZE = 1 << 40  # bytes: nothing is cut for a bus
TYPES = {action: type_ for type_, action in ACTIONS.items()}


@dataclass(frozen=True)
class Wanted:
    """What ``--object``, ``--namespace`` and ``--type`` say. ``namespace`` "": that of the entry."""

    kind: str
    name: str
    namespace: str = ""
    action: Action | None = None

    @classmethod
    def parse(cls, text: str, namespace: str, action: Action | None) -> Wanted:
        """Raises UsageError unless the text is ``KIND/NAME``."""
        kind, slash, name = text.partition("/")
        if not (kind and slash and name):
            raise UsageError(f"--object {text!r} is not KIND/NAME", hint="write it like deployments.apps/web")
        return cls(kind.lower(), name, namespace, action)

    def is_of(self, entry: Manifest) -> bool:
        """Whether the entry watches objects of that kind, which is in the plural, with or without the group."""
        return self.kind in {entry.resource, f"{entry.resource}.{entry.group}"}


def samples(sources: Mapping[str, EventSource]) -> list[Event]:
    """An event of each entry, of an object that has little more than its names."""
    return [_sample(name, entry) for name, entry in entries_of(sources.values()).items()]


def _sample(name: str, entry: Manifest) -> Event:
    metadata = {
        "name": "sample",
        "namespace": entry.namespace or next(iter(entry.namespaces), "default"),
        "uid": "00000000-0000-4000-8000-000000000000",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {label.key: label.value for label in entry.filter.labels if label.operation in ("=", "==")},
    }
    api = f"{entry.group}/{entry.version}" if entry.group else entry.version
    body = msgspec.json.encode({"apiVersion": api, "metadata": metadata, "spec": {}, "status": {}})
    made, action = _entry(name, entry), entry.event_types[0]
    return made.event(action, _change(action, body), _origin(made))


async def of_object(
    cluster: Cluster, sources: Mapping[str, EventSource], wanted: Wanted
) -> tuple[list[Event], list[str]]:
    """The event of each entry that watches such objects, and notices about those that make none of it.

    Raises UsageError, ApiError, Malformed.
    """
    events: list[Event] = []
    notices: list[str] = []
    all_ = entries_of(sources.values())
    entries = {name: entry for name, entry in all_.items() if wanted.is_of(entry)}
    if not entries:
        known = sorted({f"{e.resource}.{e.group}" if e.group else e.resource for e in all_.values()})
        hint = f"they watch {', '.join(known)}" if known else "add an EventSource with -f"
        raise UsageError(f"no EventSource of the manifests watches {wanted.kind!r}", hint=hint)
    for name, entry in entries.items():
        made = _entry(name, entry, wanted.namespace or entry.namespace)
        action = wanted.action or ("UPDATE" if "UPDATE" in entry.event_types else entry.event_types[0])
        change = _change(action, await _body(cluster, made.resource, wanted.name))
        events.append(made.event(action, change, _origin(made, cluster.name)))
        if why := await _left_out(cluster, made, action, change):
            notices.append(f"{name} makes no event of it: {why}")
    return events, notices


async def _body(cluster: Cluster, resource: Resource, name: str) -> bytes:
    try:
        return await cluster.get(resource.path_of(name))
    except ApiError as e:
        if e.status != 404:
            raise
        where = f"in namespace {resource.namespace}" if resource.namespace else "outside namespaces"
        hint = "" if resource.namespace else "give its namespace with --namespace"
        raise UsageError(f"there is no {resource.resource}/{name} {where}", hint=hint) from e


async def _left_out(cluster: Cluster, made: Entry, action: Action, change: Change) -> str:
    """Why a watcher would make no event of that, as far as the object and its labels tell."""
    manifest, namespace = made.manifest, change.meta.namespace
    watched = {manifest.namespace} if manifest.namespace else set(manifest.namespaces)
    if watched and namespace not in watched:
        return f"it watches {', '.join(sorted(watched))}"
    if action not in manifest.event_types:
        return f"eventTypes has no {action}"
    if made.labels and await ListWatch(cluster, made.resource).find(namespace, change.meta.name) is None:
        return "filter.labels"
    return "" if made.filter.passes(change) else made.filter.denial(change)


def _entry(name: str, manifest: Manifest, namespace: str = "") -> Entry:
    source, event_name = name.split("/")
    return Entry(source, event_name, manifest, namespace=namespace, key=name, max_event_bytes=ANY_SIZE)


def _change(action: Action, body: bytes) -> Change:
    return Change(TYPES[action], decode_object(body), body)


def _origin(made: Entry, cluster: str = "") -> Origin:
    return Origin(epoch=1, timeline=0, time=made.now(), cluster=cluster)
