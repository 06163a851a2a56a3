"""The name of the pod of a node (workflow/util/pod_name.go of Argo Workflows)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubecdc.workers.triggers.argo_workflow.names import POD_NAMES

_LONGEST_PREFIX = 242


def pod_name(workflow: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """The name. Its form is in an annotation of the Workflow."""
    metadata, name = workflow["metadata"], str(node.get("name") or "")
    if (metadata.get("annotations") or {}).get(POD_NAMES) == "v1":
        return str(node.get("id") or "")
    if name == metadata["name"]:
        return name
    template = (node.get("templateRef") or {}).get("template") or node.get("templateName") or ""
    prefix = f"{metadata['name']}-{template}" if template else metadata["name"]
    return f"{prefix[:_LONGEST_PREFIX]}-{fnv32a(name)}"


def fnv32a(text: str) -> int:
    """The FNV-1a hash of 32 bits."""
    number = 0x811C9DC5
    for byte in text.encode():
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return number
