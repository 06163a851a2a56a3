"""The object of the source: what it must be for an operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubecdc.workers.objects.document import malformed
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.triggers.argo_workflow.arguments import Options
from kubecdc.workers.triggers.argo_workflow.names import LONGEST_NAME, TEMPLATE_LABELS

GROUP = "argoproj.io/"


def defect(document: Mapping[str, Any], operation: str, options: Options) -> str:
    """What makes it unusable for the operation, "" if nothing does. The text begins with "it"."""
    if wrong := malformed(document):
        return wrong
    kind, metadata = document["kind"], document.get("metadata") or {}
    if not document["apiVersion"].startswith(GROUP):
        return f"its `apiVersion` is not one of {GROUP}"
    if operation == "submit-from":
        if kind not in TEMPLATE_LABELS:
            return f"its kind is {kind}, but submit-from takes {', '.join(TEMPLATE_LABELS)}"
        return _nameless(metadata, operation) or _too_long(options.name)
    if kind != "Workflow":
        hint = "; `operation: submit-from` submits one" if kind in TEMPLATE_LABELS else ""
        return f"its kind is {kind}, but {operation} takes a Workflow{hint}"
    if operation != "submit":
        return _nameless(metadata, operation)
    if not (options.name or options.generate_name or metadata.get("name") or metadata.get("generateName")):
        return "it has neither `metadata.name` nor `metadata.generateName`"
    return _too_long(options.name or metadata.get("name") or "") or _spec(document.get("spec"))


def checked(document: Mapping[str, Any], operation: str, options: Options) -> None:
    """Raises ParameterError if the object is unusable for the operation."""
    if wrong := defect(document, operation, options):
        raise ParameterError(f"the object cannot be used: {wrong}")


def arguments_defect(spec: Mapping[str, Any]) -> str:
    """What is wrong with the arguments of a workflow's ``spec``, "" if nothing is."""
    arguments = spec.get("arguments") or {}
    if not isinstance(arguments, dict):
        return "its `spec.arguments` is not a mapping"
    parameters = arguments.get("parameters") or []
    if not isinstance(parameters, list) or not all(isinstance(one, dict) for one in parameters):
        return "its `spec.arguments.parameters` is not a list of mappings"
    return ""


def _nameless(metadata: Mapping[str, Any], operation: str) -> str:
    return "" if metadata.get("name") else f"it has no `metadata.name`, which {operation} needs"


def _too_long(name: str) -> str:
    return f"its name has more than {LONGEST_NAME} characters" if len(name) > LONGEST_NAME else ""


def _spec(spec: object) -> str:
    if not isinstance(spec, dict):
        return "it has no `spec`"
    return arguments_defect(spec)
