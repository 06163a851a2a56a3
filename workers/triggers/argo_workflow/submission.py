"""The Workflow that submit, submit-from and resubmit make, as Argo's command line makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubecdc.workers.objects.document import Document, named
from kubecdc.workers.objects.marks import TRACEPARENT, Mark
from kubecdc.workers.triggers.argo_workflow.arguments import Options
from kubecdc.workers.triggers.argo_workflow.names import (
    CHANGES,
    CREATOR,
    INSTANCE,
    OF_ANOTHER_RUN,
    RESUBMITTED_FROM,
    SCHEDULED_TIME,
    TEMPLATE_LABELS,
)


def submitted(document: Document, options: Options, mark: Mark) -> Document:
    """The Workflow of a source."""
    metadata = document.get("metadata") or {}
    labels = _without_run(metadata.get("labels"))
    labels.pop(INSTANCE, None)
    workflow = {k: v for k, v in document.items() if k != "status"}
    return _finished({**workflow, "metadata": {**metadata, "labels": labels}}, options, mark)


def from_template(template: Mapping[str, Any], options: Options, mark: Mark) -> Document:
    """The Workflow of a WorkflowTemplate or ClusterWorkflowTemplate."""
    kind, name = template["kind"], template["metadata"]["name"]
    reference: dict[str, Any] = {"name": name}
    if kind == "ClusterWorkflowTemplate":
        reference["clusterScope"] = True
    metadata = {"generateName": f"{name}-", "labels": {TEMPLATE_LABELS[kind]: name}}
    return _finished(_workflow(template, metadata, {"workflowTemplateRef": reference}), options, mark)


def from_cron(cron: Mapping[str, Any], options: Options, mark: Mark, now: str) -> Document:
    """The Workflow of a CronWorkflow, as it is in the cluster. It belongs to that. ``now`` is a time in RFC 3339."""
    name, spec = cron["metadata"]["name"], cron.get("spec") or {}
    given = spec.get("workflowMetadata") or {}
    metadata = {
        "generateName": f"{name}-",
        "labels": {**(given.get("labels") or {}), TEMPLATE_LABELS["CronWorkflow"]: name},
        "annotations": {**(given.get("annotations") or {}), SCHEDULED_TIME: now},
        "ownerReferences": [
            {
                "apiVersion": cron["apiVersion"],
                "kind": "CronWorkflow",
                "name": name,
                "uid": cron["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if given.get("finalizers"):
        metadata["finalizers"] = given["finalizers"]
    return _finished(_workflow(cron, metadata, spec.get("workflowSpec") or {}), options, mark)


def resubmitted(old: Mapping[str, Any], options: Options, mark: Mark) -> Document:
    """The Workflow that runs another one again."""
    given, name = old["metadata"], old["metadata"]["name"]
    annotations = {k: v for k, v in (given.get("annotations") or {}).items() if k not in {CHANGES, TRACEPARENT}}
    metadata = {
        "generateName": given.get("generateName") or f"{name}-",
        "labels": {**_without_run(given.get("labels")), RESUBMITTED_FROM: name},
        "annotations": annotations,
    }
    if given.get("ownerReferences"):
        metadata["ownerReferences"] = given["ownerReferences"]
    spec = {k: v for k, v in (old.get("spec") or {}).items() if k != "shutdown"}
    if spec.get("activeDeadlineSeconds") == 0:  # it was terminated in the old way
        del spec["activeDeadlineSeconds"]
    return _finished(_workflow(old, metadata, spec), options, mark)


def with_parameters(spec: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The spec with these arguments first, instead of those of the same names."""
    if not given:
        return dict(spec)
    arguments = spec.get("arguments") or {}
    kept = [one for one in arguments.get("parameters") or () if one.get("name") not in given]
    first = [{"name": name, "value": value} for name, value in given.items()]
    return {**spec, "arguments": {**arguments, "parameters": [*first, *kept]}}


def _finished(workflow: Document, options: Options, mark: Mark) -> Document:
    metadata = dict(workflow["metadata"])
    metadata["labels"] = {**metadata["labels"], **options.labels}
    if options.instance_id:
        metadata["labels"][INSTANCE] = options.instance_id
    if options.name:
        metadata["name"] = options.name
    if options.generate_name:
        metadata["generateName"] = options.generate_name
    spec = with_parameters(workflow["spec"], options.parameters)
    for field, value in (("entrypoint", options.entrypoint), ("serviceAccountName", options.service_account)):
        if value:
            spec[field] = value
    if options.priority is not None:
        spec["priority"] = options.priority
    return named({**workflow, "metadata": metadata, "spec": spec}, mark)


def _workflow(source: Mapping[str, Any], metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Document:
    return {"apiVersion": source["apiVersion"], "kind": "Workflow", "metadata": metadata, "spec": spec}


def _without_run(labels: Mapping[str, str] | None) -> dict[str, str]:
    """The labels without those that the controller gave to the run, and without its creator."""
    return {k: v for k, v in (labels or {}).items() if k not in OF_ANOTHER_RUN and not k.startswith(CREATOR)}
