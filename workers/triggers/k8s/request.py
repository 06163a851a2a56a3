"""What an event asks the ``k8s`` trigger to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.objects.document import Document, Unusable, computed, in_manifest
from kubecdc.workers.objects.kinds import guess
from kubecdc.workers.objects.marks import Mark
from kubecdc.workers.objects.sources.manifest import described
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError, apply, resolve
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.k8s.document import Owner, checked, completed, owner_of
from kubecdc.workers.triggers.k8s.manifest import APPLY_PATCH, K8s


@dataclass(frozen=True)
class K8sRequest:
    """One operation on one object.

    ``document`` is the object as it is sent. It is None if `execute` has to read it first, from its source or, with
    ``liveObject``, from the cluster.
    """

    config: K8s
    event: Event
    values: Values
    mark: Mark
    owner: Owner | None
    document: Document | None

    async def made_of(self, source: Document) -> Document:
        """The object that the parameters make of what was read. Raises ParameterError."""
        return await computed(partial(self._made_of, source), self.event)

    def _made_of(self, source: Document) -> Document:
        document = apply(source, self.config.parameters, self.values)
        checked(document, self.config)
        return completed(document, self.mark, self.owner)


def prepare(request: TriggerRequest[K8s]) -> K8sRequest:
    """Make the object, as far as that needs no I/O. Raises ParameterError."""
    config, values = request.config, request.values
    mark = Mark.of(request)
    owner = owner_of(request.event, values) if config.owner_reference and config.operation != "delete" else None
    waiting = K8sRequest(config, request.event, values, mark, owner, None)
    try:
        source = in_manifest(config.source)
    except Unusable as e:
        raise ParameterError(f"the object cannot be used: {e}") from None
    if source is None or is_live(config):
        for parameter in config.parameters:
            if values.has(parameter.src):
                resolve(parameter.src, values)
        if source is not None:
            checked(source, config)
        return waiting
    return K8sRequest(config, request.event, values, mark, owner, waiting._made_of(source))


def is_live(config: K8s) -> bool:
    """Whether the object is read from the cluster. As in Argo, only an update does."""
    return config.live_object and config.operation == "update"


def query(config: K8s) -> dict[str, str]:
    """The query parameters of a write."""
    if config.operation == "patch" and config.patch_strategy == APPLY_PATCH:
        return {"fieldManager": config.field_manager or "kubecdc", "force": "true" if config.force else "false"}
    return {"fieldManager": config.field_manager} if config.field_manager else {}


def preview(request: K8sRequest, namespace: str) -> dict[str, object]:
    """What `execute` would do. ``namespace`` is that of the Sensor. Raises ParameterError."""
    config = request.config
    told: dict[str, object] = {"operation": config.operation}
    if config.operation == "patch":
        told["patchStrategy"] = config.patch_strategy
    if given := query(config):
        told["query"] = given
    document = request.document
    if document is None:
        source = in_manifest(config.source)
        named = {"source": described(config.source)} if source is None else {"object": source}
        written = [
            {"dest": p.dest, "value": resolve(p.src, request.values)}
            for p in config.parameters
            if request.values.has(p.src)
        ]
        origin = "the object in the cluster" if is_live(config) else "the source"
        return told | {"reads": origin} | named | ({"parameters": written} if written else {})
    place = guess(document["apiVersion"], document["kind"], document["metadata"].get("namespace") or namespace)
    if place.namespace:
        told["namespace"] = place.namespace
    told["object"] = request.mark.on(document) if config.operation == "create" else document
    return told
