"""The permissions that an ``argoWorkflow`` trigger needs in the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.resource import Resource
from kubecdc.workers.objects.document import Unusable, in_manifest, malformed
from kubecdc.workers.objects.kinds import guess
from kubecdc.workers.triggers.argo_workflow.manifest import ArgoWorkflow
from kubecdc.workers.triggers.argo_workflow.names import TEMPLATE_LABELS

_BY_OPERATION: Mapping[str, tuple[str, ...]] = {
    "submit": ("get", "create"),
    "submit-from": ("get", "create"),
    "resubmit": ("get", "create"),
    "suspend": ("get", "patch"),
    "resume": ("get", "patch", "update"),
    "stop": ("get", "patch"),
    "terminate": ("get", "patch"),
    "retry": ("get", "update"),
}
_ALL = ("get", "create", "patch", "update")
PODS = ("get", "delete")


def verbs(config: ArgoWorkflow) -> tuple[str, ...]:
    """The verbs on workflows that its operation needs."""
    return _BY_OPERATION[config.operation]


def rules(config: ArgoWorkflow, written: Set[str], namespace: str) -> Sequence[AccessRule]:
    """The rules, as far as they do not depend on the event. A namespace that does is every namespace."""
    try:
        document = in_manifest(config.source)
    except Unusable:
        return ()
    if document is None or malformed(document):
        return ()
    inside = {parameter.dest for parameter in config.parameters}
    inside |= {path.removeprefix("source.resource.") for path in written if path.startswith("source.resource.")}
    if inside & {"apiVersion", "kind"} or written & {"", "source", "source.resource", "source.inline"}:
        return ()
    own = (document.get("metadata") or {}).get("namespace") or namespace
    place = "" if inside & {"metadata", "metadata.namespace"} else own
    version, kind, any_operation = document["apiVersion"], document["kind"], "operation" in written
    needed = _ALL if any_operation else verbs(config)
    found = [AccessRule(guess(version, "Workflow", place), needed, kind="Workflow")]
    if config.operation == "submit-from" and kind in TEMPLATE_LABELS:
        found.append(AccessRule(guess(version, kind, place), ("get",), kind=kind))
    if config.operation == "retry" or any_operation:
        found.append(AccessRule(Resource("", "v1", "pods", place), PODS, kind="Pod"))
    return found
