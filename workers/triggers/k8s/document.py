"""The object of a trigger: checked, and filled in from the event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubecdc import jsonpath
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.objects.document import Document, malformed, named
from kubecdc.workers.objects.marks import Mark
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.k8s.manifest import JSON_PATCH, K8s

OPERATIONS = "patch"  # the field that has the operations of a JSON patch; no object of Kubernetes has it


def defect(document: Mapping[str, Any], config: K8s) -> str:
    """What makes it unusable for the operation, "" if nothing does. The text begins with "it"."""
    if wrong := malformed(document):
        return wrong
    metadata = document.get("metadata", {})
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


@dataclass(frozen=True)
class Owner:
    """An owner reference, and the namespace of the owner, "" if it has none."""

    reference: Mapping[str, Any]
    namespace: str

    def may_own(self, namespace: str) -> bool:
        """Whether it may own an object there. Kubernetes deletes one whose owner is in another namespace."""
        return self.namespace in {"", namespace}


def completed(document: Document, mark: Mark, owner: Owner | None) -> Document:
    """The object as it is sent: with a name and its owner, without what the API server writes."""
    sent = named(document, mark)
    if owner is not None:
        references = sent["metadata"].get("ownerReferences") or ()
        sent["metadata"]["ownerReferences"] = [*references, owner.reference]
    return sent


def owner_of(event: Event, values: Values) -> Owner:
    """The reference to the object of the event. Raises ParameterError if it cannot be an owner."""
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
    namespace = jsonpath.compile("body.metadata.namespace").get(data)
    return Owner(found, namespace if isinstance(namespace, str) else "")
