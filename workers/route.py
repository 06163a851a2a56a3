"""One trigger of one Sensor: which events it handles, and what each of them asks it to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from kubecdc.cluster.shared import SharedCluster, no_cluster
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.metrics import TriggerMetrics
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.scripts.process import ScriptError
from kubecdc.workers.scripts.runner import Scripts
from kubecdc.workers.sensor.filters.compiled import CompiledFilters
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.sensor.manifest import Trigger as TriggerManifest
from kubecdc.workers.sensor.parameters import ParameterError, Values, rewrite
from kubecdc.workers.triggers.contract import Context, Render, Trigger


class Route:
    """From an event to a request. ``trigger`` acts on it, ``metrics`` counts."""

    def __init__(self, sensor: Sensor, manifest: TriggerManifest, trigger: Trigger[Any]) -> None:
        self.sensor = sensor.name
        self.name = manifest.name
        self.subscription = sensor.subscription(manifest)
        self.dependency = sensor.dependency
        self.filters = CompiledFilters(self.dependency.filters, self.dependency.filters_logical_operator)
        self.retry_strategy = manifest.retry_strategy
        self.paused = manifest.paused
        self.trigger = trigger
        self.metrics = TriggerMetrics(sensor.name, manifest.name)
        self.retry_reason = ""  # why the last run has to be repeated
        self.acks: set[asyncio.Task[None]] = set()  # the bus is being told of these successes
        self.outdated = False  # whether it was logged that another process has another dependency for it
        self.in_thread: set[str] = (
            set()
        )  # steps whose last templates computed for too long to do that on the event loop
        self._type, self._config = manifest.template.type, manifest.template.config
        self._template = manifest.template
        self._parameters = [p for p in manifest.parameters if p.dest != "name"]  # the name of the manifest stays

    def matches(self, event: Event) -> bool:
        """It is an event of the dependency."""
        return event.source == self.dependency.event_source_name and event.subject == self.dependency.event_name

    @property
    def transforms(self) -> bool:
        """Whether the dependency has a ``transform``."""
        return self.dependency.transform.program is not None

    async def transformed(self, event: Event, scripts: Scripts) -> Event:
        """The event with what the ``transform`` of the dependency makes of its data.

        Raises ScriptError, Interrupted.
        """
        transform = self.dependency.transform
        program = transform.program
        if program is None:
            return event
        try:
            data = await scripts.run(program, bytes(event.data))
        except ScriptError as e:
            raise ScriptError(f"{transform.field}: {e}") from e
        return msgspec.structs.replace(event, data=msgspec.Raw(data))

    def request(self, event: Event, values: Values | None = None, *, attempt: int = 1) -> Any:
        """What the event asks the trigger to do, as the trigger's own type of request. ``values`` are of the event.

        First the ``parameters`` of the trigger rewrite the template, which is validated again. Then the trigger applies
        those of its type. Raises ParameterError: the event can never be handled.
        """
        try:
            return self._prepared(event, values or Values(event), attempt)
        except RecursionError:
            raise ParameterError("the event is nested too deep for what the parameters take from it") from None

    def _prepared(self, event: Event, values: Values, attempt: int) -> Any:
        config = self._config
        if self._parameters:
            template = rewrite(self._template, self._parameters, values)
            if template.type != self._type:
                raise ParameterError(f"the parameters turn a trigger of type {self._type} into another")
            config = template.config
        return self.trigger.prepare(
            TriggerRequest(self.sensor, self.name, self.dependency.name, event, config, values, attempt)
        )


def build(manifest: TriggerManifest, context: Context) -> Trigger[Any]:
    """The trigger of a manifest."""
    template = manifest.template
    return template.trigger_type.build(template.config, manifest.policy, context)


def route(
    sensor: Sensor,
    trigger: TriggerManifest,
    *,
    concurrency: int,
    render: Render,
    mounts: Mounts,
    cluster: SharedCluster | None = None,
) -> Route:
    """The route of one trigger of a Sensor. The caller closes the trigger, and the cluster."""
    shared = cluster or SharedCluster(no_cluster)
    namespace = sensor.metadata.namespace or shared.namespace
    context = Context(sensor.name, concurrency, sensor.spec.logging_fields, render, mounts, namespace, shared)
    return Route(sensor, trigger, build(trigger, context))


def routes(sensor: Sensor, **given: Any) -> Iterator[Route]:
    """A `route` for each trigger of a Sensor, in the order of the manifest."""
    for trigger in sensor.spec.triggers:
        yield route(sensor, trigger, **given)
