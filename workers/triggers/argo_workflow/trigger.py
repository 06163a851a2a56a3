"""The ``argoWorkflow`` trigger: one operation on one Workflow per event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.workers.objects.answer import Undone, judge
from kubecdc.workers.objects.document import Document, Unusable
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.objects.sources.read import Reader
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.policy import K8sPolicy
from kubecdc.workers.triggers.argo_workflow.access import verbs
from kubecdc.workers.triggers.argo_workflow.manifest import ArgoWorkflow
from kubecdc.workers.triggers.argo_workflow.request import WorkflowRequest, prepare, preview
from kubecdc.workers.triggers.contract import Context

if TYPE_CHECKING:
    from kubecdc.workers.triggers.argo_workflow.operations import Place


class ArgoWorkflowTrigger:
    """Works on Workflows in the cluster, with the connection that all triggers of the process share."""

    def __init__(
        self,
        context: Context,
        policy: K8sPolicy | None = None,
        own: Source | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``own`` is the source that the manifest has: another one was chosen by an event."""
        self._context = context
        self._reader = Reader(context.keys, context.addresses, own)
        self._policy = policy
        self._now = now

    def prepare(self, request: TriggerRequest[ArgoWorkflow]) -> WorkflowRequest:
        """Make the object of the source, as far as that needs no I/O. Raises ParameterError."""
        return prepare(request)

    async def execute(self, request: WorkflowRequest) -> Outcome:
        """Do the operation once, within the manifest's ``timeout``; then wait for the labels of the policy."""
        config = request.config
        try:
            async with asyncio.timeout(config.timeout):
                place, name = await self._operate(request)
        except TimeoutError:
            return Retry(f"{config.operation} a Workflow: no answer within {config.timeout} s")
        except Undone as e:
            return e.outcome
        except ParameterError as e:
            return Failure(str(e))
        if self._policy is None:
            return Success()
        from kubecdc.workers.objects import labels

        return await labels.wait(place.objects, place.workflows, name, self._policy, place.what)

    async def _operate(self, request: WorkflowRequest) -> tuple[Place, str]:
        """Do the operation. Its place, and the name of the Workflow. Raises Undone, ParameterError."""
        # Loaded with the HTTP client, by the first execution.
        from kubecdc.workers.triggers.argo_workflow import operations

        objects = await self._context.cluster.objects()
        document = request.document or await self._read(request)
        metadata = document.get("metadata") or {}
        what, workflows = f"{request.config.operation} {document['kind']}", None
        try:
            kind = await objects.discovery.find(document["apiVersion"], "Workflow")
            workflows = kind.within(metadata.get("namespace") or self._context.namespace)
            name = metadata.get("name") or request.options.name or metadata.get("generateName") or ""
            what = f"{what} {workflows.namespace}/{name}"
            now = self._now()
            rfc3339 = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            place = operations.Place(objects, workflows, request, document, what, str(int(now * 1000)), rfc3339)
            return place, await operations.perform(place)
        except ApiError as e:
            if e.status == 404:
                objects.discovery.forget(document["apiVersion"])
            raise Undone(judge(what, e, workflows, verbs(request.config))) from None
        except Malformed as e:
            raise Undone(Retry(f"{what}: {e}")) from None

    async def _read(self, request: WorkflowRequest) -> Document:
        """The object of a source outside the manifest. Raises Undone, ParameterError."""
        try:
            document = await self._reader.read(request.config.source, request.config.timeout)
        except Unusable as e:
            raise ParameterError(f"the object cannot be used: {e}") from None
        return await request.made_of(document)

    def preview(self, request: WorkflowRequest) -> Mapping[str, object]:
        """What `execute` would do. Raises ParameterError."""
        return preview(request, self._context.namespace)

    async def close(self) -> None:
        """The connection is not its own."""
