"""The operations on the API server. Each may be repeated: for the same event, it is done once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.object_client import Document, Objects
from kubecdc.cluster.resource import Resource
from kubecdc.concurrency import in_thread
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.creation import create
from kubecdc.workers.outcome import Failure, Retry
from kubecdc.workers.triggers.argo_workflow import changes, pods, submission
from kubecdc.workers.triggers.argo_workflow.changes import Change, Make, Refused
from kubecdc.workers.triggers.argo_workflow.document import arguments_defect
from kubecdc.workers.triggers.argo_workflow.names import INSTANCE
from kubecdc.workers.triggers.argo_workflow.request import WorkflowRequest
from kubecdc.workers.triggers.argo_workflow.retrying import retry

CONFLICTS = 5  # tries of a change of a Workflow that its controller changes at the same time
MERGE_PATCH = "application/merge-patch+json"
COMPUTING = 30.0  # seconds for the nodes of a large Workflow


@dataclass(frozen=True)
class Place:
    """Where an operation works. ``what`` names it in reasons, ``milliseconds`` and ``now`` are the time."""

    objects: Objects
    workflows: Resource
    request: WorkflowRequest
    document: Document
    what: str
    milliseconds: str
    now: str

    @property
    def source_name(self) -> str:
        """The name of the object of the source."""
        name: str = self.document["metadata"]["name"]
        return name


async def perform(place: Place) -> str:
    """Do it. The name of the Workflow. Raises Undone, ApiError, Malformed."""
    request = place.request
    operation = request.config.operation
    if operation == "submit":
        return await _create(place, submission.submitted(place.document, request.options, request.mark))
    if operation == "submit-from":
        return await _create(place, await _from(place))
    if operation == "resubmit":
        old = await place.objects.get(place.workflows, place.source_name)
        _check(place, old)
        return await _create(place, submission.resubmitted(old, request.options, request.mark))
    make = partial(retry, request.options.parameters) if operation == "retry" else changes.MAKE[operation]
    await _change(place, make)
    return place.source_name


async def _create(place: Place, workflow: Document) -> str:
    metadata = {**workflow["metadata"]}
    metadata["namespace"] = place.workflows.namespace
    made = await create(
        place.objects,
        place.workflows,
        {**workflow, "metadata": metadata},
        place.request.mark,
        timestamp=place.milliseconds,
    )
    name: str = made["metadata"]["name"]
    return name


async def _from(place: Place) -> Document:
    """The Workflow of a template. That is read also if only its name counts: the API server does not check it."""
    request, kind = place.request, place.document["kind"]
    served = await place.objects.discovery.find(place.document["apiVersion"], kind)
    found = await place.objects.get(served.within(place.workflows.namespace), place.source_name)
    found = {**found, "apiVersion": place.document["apiVersion"], "kind": kind}
    if kind != "CronWorkflow":
        return submission.from_template(found, request.options, request.mark)
    _arguments(place, (found.get("spec") or {}).get("workflowSpec") or {})
    return submission.from_cron(found, request.options, request.mark, place.now)


async def _change(place: Place, make: Make) -> None:
    """Change the Workflow, unless that was done for the event before."""
    token = place.request.mark.token
    for _ in range(CONFLICTS):
        found = await place.objects.get(place.workflows, place.source_name)
        if changes.is_made(found, token):
            return
        _check(place, found)
        try:
            change = await in_thread(partial(make, found, place.now), seconds=COMPUTING)
        except Refused as e:
            raise Undone(Failure(f"{place.what}: {e}")) from None
        if change is None or await _written(place, found, changes.recorded(change, found, token)):
            return
    raise Undone(Retry(f"{place.what}: others have changed it at the same time, {CONFLICTS} times in a row"))


async def _written(place: Place, found: Document, change: Change) -> bool:
    """Write the change. False if somebody has changed the Workflow since it was read."""
    objects, workflows, name = place.objects, place.workflows, place.source_name
    try:
        if change.pods and not await pods.delete(objects, workflows, found, change.pods):
            return False
        if change.whole:
            await objects.replace(workflows, name, change.document)
        else:
            await objects.patch(workflows, name, change.document, MERGE_PATCH)
    except ApiError as e:
        if (e.status, e.reason) == (409, "Conflict"):
            return False
        raise
    return True


def _check(place: Place, workflow: Document) -> None:
    """Raises Undone if the Workflow is that of another controller, or cannot be understood."""
    asked = place.request.options.instance_id
    labels = workflow["metadata"].get("labels") or {}
    if (labels.get(INSTANCE) or "") != asked:
        theirs = labels.get(INSTANCE) or "without an instance id"
        hint = f"; it belongs to the controller {theirs}: name that with --instanceid" if labels.get(INSTANCE) else ""
        raise Undone(Failure(f"{place.what}: it is not managed by the controller {asked or 'without id'}{hint}"))
    _arguments(place, workflow.get("spec") or {})


def _arguments(place: Place, spec: Document) -> None:
    if wrong := arguments_defect(spec):
        raise Undone(Failure(f"{place.what}: {wrong}"))
