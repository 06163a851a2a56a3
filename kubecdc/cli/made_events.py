"""Events for `kubecdc try`, as a watcher would make them: of an object in the cluster, or of one that is made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from kubecdc.cluster.changes import Change
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.objects import decode_object
from kubecdc.cluster.resource import Resource
from kubecdc.errors import UsageError
from kubecdc.storage.contracts.event import Action, Event
from kubecdc.watcher.capture.entry import ACTIONS, Entry, Origin
from kubecdc.watcher.manifest import Entry as Manifest
from kubecdc.watcher.manifest import EventSource

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
    return [_sample(source, name, entry) for source, name, entry in _entries(sources)]


def _sample(source: str, name: str, entry: Manifest) -> Event:
    namespace = entry.namespace or next(iter(entry.namespaces), "default")
    metadata = {
        "name": "sample",
        "namespace": namespace,
        "uid": "00000000-0000-4000-8000-000000000000",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {label.key: label.value for label in entry.filter.labels if label.operation in ("=", "==")},
    }
    api = f"{entry.group}/{entry.version}" if entry.group else entry.version
    body = msgspec.json.encode({"apiVersion": api, "metadata": metadata, "spec": {}, "status": {}})
    return _event(source, name, entry, entry.event_types[0], body)


async def of_object(
    cluster: Cluster, sources: Mapping[str, EventSource], wanted: Wanted
) -> tuple[list[Event], list[str]]:
    """The event of each entry that watches such objects, and notices about those whose filters leave it out.

    Raises UsageError, ApiError, Malformed.
    """
    events: list[Event] = []
    notices: list[str] = []
    entries = [found for found in _entries(sources) if wanted.is_of(found[2])]
    if not entries:
        known = sorted({f"{e.resource}.{e.group}" if e.group else e.resource for _, _, e in _entries(sources)})
        hint = f"they watch {', '.join(known)}" if known else "add an EventSource with -f"
        raise UsageError(f"no EventSource of the manifests watches {wanted.kind!r}", hint=hint)
    for source, name, entry in entries:
        action = wanted.action or ("UPDATE" if "UPDATE" in entry.event_types else entry.event_types[0])
        namespace = wanted.namespace or entry.namespace
        event = _event(source, name, entry, action, await _body(cluster, entry, namespace, wanted.name), cluster.name)
        events.append(event)
        if why := _left_out(entry, event, action, namespace):
            notices.append(f"{source}/{name} makes no event of it: {why}")
    return events, notices


async def _body(cluster: Cluster, entry: Manifest, namespace: str, name: str) -> bytes:
    resource = Resource(entry.group, entry.version, entry.resource, namespace)
    try:
        return await cluster.get(resource.path_of(name))
    except ApiError as e:
        if e.status != 404:
            raise
        where = f"in namespace {namespace}" if namespace else "outside namespaces"
        hint = "" if namespace else "give its namespace with --namespace"
        raise UsageError(f"there is no {entry.resource}/{name} {where}", hint=hint) from e


def _left_out(entry: Manifest, event: Event, action: Action, namespace: str) -> str:
    """Why a watcher would make no event of that, as far as the object tells."""
    watched = {entry.namespace} if entry.namespace else set(entry.namespaces)
    if watched and namespace not in watched:
        return f"it watches {', '.join(sorted(watched))}"
    if action not in entry.event_types:
        return f"eventTypes has no {action}"
    made = Entry("", "", entry, namespace="", key="", max_event_bytes=ANY_SIZE)
    body = bytes(msgspec.json.decode(event.data, type=dict[str, msgspec.Raw])["body"])
    change = Change(TYPES[action], decode_object(body), body)
    return "" if made.filter.passes(change) else made.filter.denial(change)


def _event(source: str, name: str, entry: Manifest, action: Action, body: bytes, cluster: str = "") -> Event:
    made = Entry(source, name, entry, namespace="", key=f"{source}/{name}", max_event_bytes=ANY_SIZE)
    change = Change(TYPES[action], decode_object(body), body)
    return made.event(action, change, Origin(epoch=1, timeline=0, time=made.now(), cluster=cluster))


def _entries(sources: Mapping[str, EventSource]) -> Iterator[tuple[str, str, Manifest]]:
    for source in sources.values():
        for name, entry in source.spec.resource.items():
            yield source.name, name, entry
