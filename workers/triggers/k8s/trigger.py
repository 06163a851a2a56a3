"""The ``k8s`` trigger: one operation on one object per event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.workers.objects.answer import Undone, judge
from kubecdc.workers.objects.document import Document, Unusable, in_manifest
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.objects.sources.read import Reader
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.policy import K8sPolicy
from kubecdc.workers.triggers.contract import Context
from kubecdc.workers.triggers.k8s.access import verbs
from kubecdc.workers.triggers.k8s.document import checked
from kubecdc.workers.triggers.k8s.manifest import K8s
from kubecdc.workers.triggers.k8s.request import K8sRequest, is_live, prepare, preview

if TYPE_CHECKING:
    from kubecdc.cluster.resource import Resource
    from kubecdc.workers.triggers.k8s.operations import Place


class K8sTrigger:
    """Works on objects in the cluster, with the connection that all triggers of the process share."""

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

    def prepare(self, request: TriggerRequest[K8s]) -> K8sRequest:
        """Make the object, as far as that needs no I/O. Raises ParameterError."""
        return prepare(request)

    async def execute(self, request: K8sRequest) -> Outcome:
        """Do the operation once, within the manifest's ``timeout``; then wait for the labels of the policy."""
        seconds = request.config.timeout
        try:
            async with asyncio.timeout(seconds):
                place = await self._operate(request)
        except TimeoutError:
            return Retry(f"{self._what(request)}: no answer within {seconds} s")
        except Undone as e:
            return e.outcome
        except ParameterError as e:
            return Failure(str(e))
        if self._policy is None or request.config.operation == "delete":
            return Success()
        from kubecdc.workers.objects import labels

        return await labels.wait(place.objects, place.resource, place.name, self._policy, place.what)

    async def _operate(self, request: K8sRequest) -> Place:
        """Do the operation. Raises Undone, ParameterError."""
        # Loaded with the HTTP client, by the first execution.
        from kubecdc.workers.triggers.k8s import operations

        objects = await self._context.cluster.objects()
        document = request.document or await self._read(request)
        what, resource = f"{request.config.operation} {document['kind']}", None
        try:
            kind = await objects.discovery.find(document["apiVersion"], document["kind"])
            resource = kind.within(document["metadata"].get("namespace") or self._context.namespace)
            place = operations.place_of(objects, resource, document, request, str(int(self._now() * 1000)))
            what = place.what
            if request.owner and not request.owner.may_own(resource.namespace):
                where = request.owner.namespace
                raise Undone(Failure(f"{what}: its owner would be in another namespace, {where}: it would be deleted"))
            if is_live(request.config):
                await operations.update_live(place, request)
            else:
                await operations.perform(place, _placed(document, resource), request.config)
        except ApiError as e:
            if e.status == 404:
                objects.discovery.forget(document["apiVersion"])
            raise Undone(judge(what, e, resource, verbs(request.config))) from None
        except Malformed as e:
            raise Undone(Retry(f"{what}: {e}")) from None
        return place

    async def _read(self, request: K8sRequest) -> Document:
        """The object of a source that has to be read. Of a live object, only its identity counts."""
        config = request.config
        try:
            document = in_manifest(config.source)
            if document is None:
                document = await self._reader.read(config.source, config.timeout)
        except Unusable as e:
            raise ParameterError(f"the object cannot be used: {e}") from None
        if is_live(config):
            checked(document, config)
            return document
        return await request.made_of(document)

    def _what(self, request: K8sRequest) -> str:
        document = request.document
        if document is None:
            return f"{request.config.operation} an object"
        return f"{request.config.operation} {document['kind']} {document['metadata']['name']}"

    def preview(self, request: K8sRequest) -> Mapping[str, object]:
        """What `execute` would do. Raises ParameterError."""
        return preview(request, self._context.namespace)

    async def close(self) -> None:
        """The connection is not its own."""


def _placed(document: Document, resource: Resource) -> Document:
    """The object with the namespace that it is sent to; without one if its kind has none."""
    metadata = {k: v for k, v in document["metadata"].items() if k != "namespace"}
    if resource.namespace:
        metadata["namespace"] = resource.namespace
    return {**document, "metadata": metadata}
