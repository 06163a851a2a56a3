"""The object of a trigger: checked, and with what the event gives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kubecdc import jsonpath
from kubecdc.manifest import plain_yaml
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.objects.marks import Mark
from kubecdc.workers.sensor.parameters import ParameterError, Values
from kubecdc.workers.triggers.k8s.manifest import JSON_PATCH, K8s

Document = dict[str, Any]
OPERATIONS = "patch"  # the field that has the operations of a JSON patch; no object of Kubernetes has it
# Fields that the API server writes. One that comes from an event is out of date.
_SERVERS = (
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
)


class Unusable(ValueError):
    """The source has no object of Kubernetes. The text begins with "it"."""


@lru_cache(maxsize=32)
def parsed(text: str) -> Document:
    """The object in a text. It is shared: do not change it. Raises Unusable."""
    try:
        content = plain_yaml.single(text)
    except ValueError as e:
        raise Unusable(str(e)) from None
    if not isinstance(content, dict):
        raise Unusable("it is no object")
    return content


def in_manifest(config: K8s) -> Document | None:
    """The object if the manifest itself has it. Raises Unusable."""
    if config.source.inline is not None:
        return parsed(config.source.inline)
    return config.source.resource


def defect(document: Mapping[str, Any], config: K8s) -> str:
    """What makes it unusable for the operation, "" if nothing does. The text begins with "it"."""
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str) or not document[field]:
            return f"it has no `{field}`"
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict):
        return "its `metadata` is no mapping"
    for field in ("labels", "annotations"):
        if not isinstance(metadata.get(field) or {}, dict):
            return f"its `metadata.{field}` is no mapping"
    for field in ("name", "namespace", "generateName"):
        if not isinstance(metadata.get(field) or "", str):
            return f"its `metadata.{field}` is no text"
    if config.operation == "create" and not (metadata.get("name") or metadata.get("generateName")):
        return "it has neither `metadata.name` nor `metadata.generateName`"
    if config.operation != "create" and not metadata.get("name"):
        return f"it has no `metadata.name`, which {config.operation} needs"
    if config.operation == "patch" and config.patch_strategy == JSON_PATCH:
        operations = document.get(OPERATIONS)
        if not isinstance(operations, list) or not operations:
            return f"it has no list `{OPERATIONS}` with the operations of a JSON patch"
    return ""


def checked(document: Mapping[str, Any], config: K8s) -> None:
    """Raises ParameterError if the object is unusable for the operation."""
    if wrong := defect(document, config):
        raise ParameterError(f"the object cannot be used: {wrong}")


def completed(document: Document, mark: Mark, owner: Mapping[str, Any] | None) -> Document:
    """The object as it is sent: with a name and its owner, without what the API server writes."""
    metadata = {k: v for k, v in (document.get("metadata") or {}).items() if k not in _SERVERS}
    prefix = metadata.pop("generateName", "") or ""
    if not metadata.get("name"):
        metadata["name"] = mark.name(prefix)
    if owner is not None:
        metadata["ownerReferences"] = [*(metadata.get("ownerReferences") or ()), owner]
    return {**document, "metadata": metadata}


def owner_of(event: Event, values: Values) -> dict[str, Any]:
    """The owner reference to the object of the event. Raises ParameterError if it cannot be an owner."""
    data = values.data
    if jsonpath.compile("type").get(data) == "DELETE":
        raise ParameterError("the object of the event was deleted: Kubernetes would delete what it owns at once")
    paths = {
        "apiVersion": "body.apiVersion",
        "kind": "body.kind",
        "name": "body.metadata.name",
        "uid": "body.metadata.uid",
    }
    found = {field: jsonpath.compile(path).get(data) for field, path in paths.items()}
    if missing := [paths[field] for field, value in found.items() if not isinstance(value, str) or not value]:
        raise ParameterError(f"the object of the event cannot be an owner: the event has no {', '.join(missing)}")
    return found
