"""What suspend, resume, stop and terminate change in a Workflow, as Argo's command line changes it.

The functions return the change, or None if there is nothing to do. They raise Refused for what can never be done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubecdc.workers.objects.document import Document
from kubecdc.workers.triggers.argo_workflow import nodes
from kubecdc.workers.triggers.argo_workflow.names import CHANGES, COMPLETED
from kubecdc.workers.triggers.argo_workflow.nodes import NodesUnreadable

ENDED = ("Succeeded", "Failed", "Error")
KEPT = 20  # changes that a Workflow remembers


class Refused(ValueError):
    """The Workflow is not in a state in which that can be done. The text is a sentence about it."""


@dataclass(frozen=True)
class Change:
    """A merge patch, or the whole object if ``whole``. ``pods`` are deleted before."""

    document: Document
    whole: bool = False
    pods: tuple[str, ...] = ()


Make = Callable[[Document, str], Change | None]  # of the Workflow in the cluster and the time in RFC 3339


def is_made(workflow: Mapping[str, Any], token: str) -> bool:
    """Whether the change of this token was made."""
    return token in _made(workflow)


def recorded(change: Change, workflow: Mapping[str, Any], token: str) -> Change:
    """The change together with the record that it was made. It fails if the Workflow has changed meanwhile."""
    value = " ".join([*_made(workflow), token][-KEPT:])
    version = workflow["metadata"]["resourceVersion"]
    metadata = dict(change.document.get("metadata") or {})
    metadata |= {"resourceVersion": version, "annotations": {**(metadata.get("annotations") or {}), CHANGES: value}}
    return Change({**change.document, "metadata": metadata}, change.whole, change.pods)


def suspend(workflow: Document, now: str) -> Change | None:
    """Start no further steps. Those that run go on."""
    if (workflow["metadata"].get("labels") or {}).get(COMPLETED) == "true":
        raise Refused("cannot suspend completed workflows")
    if (workflow.get("spec") or {}).get("suspend"):
        return None
    return Change({"spec": {"suspend": True}})


def shut_down(strategy: str, workflow: Document, now: str) -> Change | None:
    """End it: with ``Stop`` exit handlers run, with ``Terminate`` they do not. Termination is not taken back."""
    asked = (workflow.get("spec") or {}).get("shutdown") or ""
    if asked in {strategy, "Terminate"}:
        return None
    if (workflow.get("status") or {}).get("phase") in ENDED:
        raise Refused("cannot shutdown a completed workflow")
    return Change({"spec": {"shutdown": strategy}})


def resume(workflow: Document, now: str) -> Change | None:
    """Start steps again, and end the suspend nodes that wait."""
    suspended, status = bool((workflow.get("spec") or {}).get("suspend")), workflow.get("status") or {}
    try:
        found = nodes.read(status)
    except NodesUnreadable as e:
        if suspended and status.get("offloadNodeStatusVersion"):
            return Change({"spec": {"suspend": None}})
        raise Refused(str(e)) from None
    waiting = {i: n for i, n in found.items() if n.get("type") == "Suspend" and n.get("phase") == "Running"}
    if not waiting:
        return Change({"spec": {"suspend": None}}) if suspended else None
    ended = {i: _ended(node, now) for i, node in waiting.items()}
    spec = {k: v for k, v in workflow["spec"].items() if k != "suspend"}
    return Change({**workflow, "spec": spec, "status": nodes.write(status, {**found, **ended})}, whole=True)


MAKE: Mapping[str, Make] = {
    "suspend": suspend,
    "resume": resume,
    "stop": partial(shut_down, "Stop"),
    "terminate": partial(shut_down, "Terminate"),
}


def _ended(node: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The suspend node, done. Outputs that somebody would have supplied get their defaults."""
    made = {**node, "phase": "Succeeded", "finishedAt": now}
    outputs = node.get("outputs") or {}
    if outputs.get("parameters"):
        made["outputs"] = {**outputs, "parameters": [_supplied(one) for one in outputs["parameters"]]}
    return made


def _supplied(parameter: Mapping[str, Any]) -> dict[str, Any]:
    value_from = parameter.get("valueFrom") or {}
    if "supplied" not in value_from:
        return dict(parameter)
    if value_from.get("default") is None:
        name = parameter.get("name")
        raise Refused(f"raw output parameter '{name}' has not been set and does not have a default value")
    return {k: v for k, v in parameter.items() if k != "valueFrom"} | {"value": value_from["default"]}


def _made(workflow: Mapping[str, Any]) -> list[str]:
    return ((workflow["metadata"].get("annotations") or {}).get(CHANGES) or "").split()
