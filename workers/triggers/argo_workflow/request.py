"""What an event asks the ``argoWorkflow`` trigger to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.objects.document import Document, Unusable, computed, in_manifest
from kubecdc.workers.objects.marks import Mark
from kubecdc.workers.objects.sources.manifest import described
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError, apply, resolve
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.argo_workflow.arguments import Options, WrongArgument, parse
from kubecdc.workers.triggers.argo_workflow.changes import MAKE
from kubecdc.workers.triggers.argo_workflow.document import checked
from kubecdc.workers.triggers.argo_workflow.manifest import ArgoWorkflow
from kubecdc.workers.triggers.argo_workflow.submission import from_template, submitted


@dataclass(frozen=True)
class WorkflowRequest:
    """One operation. ``document`` is the object of the source, None if `execute` has to read that first."""

    config: ArgoWorkflow
    event: Event
    values: Values
    mark: Mark
    options: Options
    document: Document | None

    async def made_of(self, source: Document) -> Document:
        """The object that the parameters make of what was read. Raises ParameterError."""
        return await computed(partial(self._made_of, source), self.event)

    def _made_of(self, source: Document) -> Document:
        document: Document = apply(source, self.config.parameters, self.values)
        checked(document, self.config.operation, self.options)
        return document


def prepare(request: TriggerRequest[ArgoWorkflow]) -> WorkflowRequest:
    """Make the object, as far as that needs no I/O. Raises ParameterError."""
    config = request.config
    mark = Mark.of(request)
    try:
        options = parse(config.args, config.operation)
    except WrongArgument as e:
        raise ParameterError(f"args[{e.index}]: {e}") from None
    waiting = WorkflowRequest(config, request.event, request.values, mark, options, None)
    try:
        source = in_manifest(config.source)
    except Unusable as e:
        raise ParameterError(f"the object cannot be used: {e}") from None
    if source is None:
        for parameter in config.parameters:
            resolve(parameter.src, request.values)
        return waiting
    document = waiting._made_of(source)
    return WorkflowRequest(config, request.event, request.values, mark, options, document)


def preview(request: WorkflowRequest, namespace: str) -> Mapping[str, object]:
    """What `execute` would do. ``namespace`` is that of the Sensor. Raises ParameterError."""
    config, document, options = request.config, request.document, request.options
    told: dict[str, object] = {"operation": config.operation}
    if document is None:
        values = request.values
        given = [p for p in config.parameters if values.has(p.src)]
        written = [{"dest": p.dest, "value": resolve(p.src, values)} for p in given]
        told |= {"reads": "the source", "source": described(config.source)}
        return told | ({"parameters": written} if written else {})
    told["namespace"] = (document.get("metadata") or {}).get("namespace") or namespace
    if config.operation == "submit":
        return told | {"object": request.mark.on(submitted(document, options, request.mark))}
    name = document["metadata"]["name"]
    if config.operation == "submit-from" and document["kind"] != "CronWorkflow":
        return told | {"object": request.mark.on(from_template(document, options, request.mark))}
    told["reads" if config.operation not in MAKE else "changes"] = f"{document['kind']} {name}"
    return told | ({"parameters": dict(options.parameters)} if options.parameters else {})
