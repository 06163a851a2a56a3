"""The permissions that a ``k8s`` trigger needs in the cluster."""

from __future__ import annotations

from collections.abc import Sequence, Set

from kubecdc.cluster.access_rule import AccessRule
from kubecdc.workers.objects.document import Unusable, in_manifest, malformed
from kubecdc.workers.objects.kinds import guess
from kubecdc.workers.triggers.k8s.manifest import APPLY_PATCH, JSON_PATCH, K8s
from kubecdc.workers.triggers.k8s.request import is_live

_BY_OPERATION = {
    "create": ("get", "create"),
    "update": ("get", "create", "update"),
    "patch": ("get", "create", "patch"),
    "delete": ("delete",),
}
_ALL = ("get", "create", "update", "patch", "delete")
_OBJECT = ("source.resource", "source.inline")


def verbs(config: K8s) -> tuple[str, ...]:
    """The verbs of its operation. To look at the object, as a policy does and a repeated create, it is read."""
    if config.operation == "patch" and config.patch_strategy == JSON_PATCH:
        return ("get", "patch")
    if config.operation == "patch" and config.patch_strategy == APPLY_PATCH:
        return ("get", "create", "patch")  # the API server asks for create if there is no such object
    return ("get", "update") if is_live(config) else _BY_OPERATION[config.operation]


def rules(config: K8s, written: Set[str], namespace: str) -> Sequence[AccessRule]:
    """The rules, as far as they do not depend on the event. A namespace that does is every namespace."""
    try:
        document = in_manifest(config.source)
    except Unusable:
        return ()
    if document is None or malformed(document):
        return ()
    inside = {parameter.dest for parameter in config.parameters}
    inside |= {path.removeprefix("source.resource.") for path in written if path.startswith("source.resource.")}
    if inside & {"apiVersion", "kind"} or written & {"", "source", *_OBJECT}:
        return ()
    metadata = document.get("metadata") or {}
    own = "" if inside & {"metadata", "metadata.namespace"} else metadata.get("namespace") or namespace
    needed = _ALL if written & {"operation", "patchStrategy", "liveObject"} else verbs(config)
    resource = guess(document["apiVersion"], document["kind"], own)
    return [AccessRule(resource, needed, kind=document["kind"])]
