"""Manifests of pages, and parts of manifests in the smallest whole one that has room for them."""

from __future__ import annotations

from typing import Any

import yaml

from kubecdc.cli.manifests.loading import Manifests
from kubecdc.cli.manifests.names import Named
from tests.manifests.support import loaded

Body = dict[str, Any]
OURS = {"EventSource": "argoproj.io/v1alpha1", "Sensor": "argoproj.io/v1alpha1", "EventBus": "kubecdc.io/v1alpha1"}
LOG: Body = {"template": {"name": "print", "log": {}}}


def check(text: str) -> Manifests:
    """Load what the page shows, as `kubecdc validate` does. Raises ManifestErrors; ValueError: it is no part of any."""
    documents = [completed(document) for document in yaml.safe_load_all(text)]
    for name, events in sorted(_missing(documents).items()):
        documents.append(_manifest("EventSource", {"resource": {event: _entry() for event in events}}, name))
    return loaded(*(yaml.safe_dump(document) for document in documents))


def completed(part: Body) -> Body:
    """The manifest that has this part."""
    match part:
        case {"kind": _}:
            return part
        case {"spec": {"dependencies": _} as spec}:
            return _manifest("Sensor", spec)
        case {"spec": spec}:
            return _manifest("EventBus", spec)
        case {"triggers": triggers}:
            return _manifest("Sensor", {"dependencies": _named(part), "triggers": triggers})
        case {"dependencies": dependencies}:
            return _manifest("Sensor", {"dependencies": dependencies, "triggers": [LOG]})
        case {"filters": _} | {"transform": _}:
            return completed({"dependencies": [_dependency("change") | part]})
        case {"payload": payload}:
            http = {"url": "http://receiver/", "payload": payload}
            return completed({"triggers": [{"template": {"name": "send", "http": http}}]})
        case {"dlqTrigger": last}:
            return completed({"triggers": [LOG | {"atLeastOnce": True, "dlqTrigger": last}]})
        case {"project": _}:
            return _manifest("EventSource", {"resource": {"changed": _entry() | part}})
        case {"schemaRegistry": registry}:
            kafka = {"url": "kafka:9092", "topic": "changes", "schemaRegistry": registry}
            return completed({"triggers": [{"template": {"name": "publish", "kafka": kafka}}]})
    raise ValueError(f"is no manifest, and there is none around {', '.join(part)}")


def _manifest(kind: str, spec: Body, name: str = "default") -> Body:
    return {"apiVersion": OURS[kind], "kind": kind, "metadata": {"name": name}, "spec": spec}


def _entry() -> Body:
    return {"group": "apps", "version": "v1", "resource": "deployments", "eventTypes": ["ADD"]}


def _dependency(name: str) -> Body:
    return {"name": name, "eventSourceName": "changes", "eventName": "changed"}


def _named(part: Any) -> list[Body]:
    """A dependency for each that a part names, and one at least."""
    names = sorted(set(_values("dependencyName", part))) or ["change"]
    return [_dependency(name) for name in names]


def _values(key: str, part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [str(part[key])] if key in part else []
        return own + [found for value in part.values() for found in _values(key, value)]
    return [found for value in part for found in _values(key, value)] if isinstance(part, list) else []


def _missing(documents: list[Body]) -> dict[str, set[str]]:
    """The EventSources that dependencies name, and their entries, but those that are there: so that there is one."""
    missing: dict[str, set[str]] = {}
    for document in documents:
        for dependency in document["spec"].get("dependencies", []) if document["kind"] == "Sensor" else []:
            missing.setdefault(dependency["eventSourceName"], set()).add(dependency["eventName"])
    there = {Named.of("EventSource", found).name for found in documents if found["kind"] == "EventSource"}
    if not missing and not there:
        return {"changes": {"changed"}}
    return {name: events for name, events in missing.items() if name not in there}
