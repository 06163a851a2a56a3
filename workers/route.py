"""One trigger of one Sensor and one of its dependencies: which events it handles, and what they ask it to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from kubecdc import jsonpath
from kubecdc.cluster.keys import Keys
from kubecdc.cluster.shared import SharedCluster, no_cluster
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts import StateStore
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption.codec import CLEAR, Codec
from kubecdc.workers.addresses import EVERYWHERE, Addresses
from kubecdc.workers.conditions.half_met import HalfMet
from kubecdc.workers.metrics import TriggerMetrics
from kubecdc.workers.rate import Rate
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.scripts.process import ScriptError
from kubecdc.workers.scripts.runner import Scripts
from kubecdc.workers.sensor.filters.compiled import CompiledFilters
from kubecdc.workers.sensor.manifest import Action, Dependency, Sensor
from kubecdc.workers.sensor.manifest import Trigger as TriggerManifest
from kubecdc.workers.sensor.parameters import ParameterError, rewrite
from kubecdc.workers.sensor.template import TriggerTemplate
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.contract import Context, Render, Trigger

if TYPE_CHECKING:
    from kubecdc.workers.locked import Missing


class Route:
    """From an event to a request. ``trigger`` acts on it, ``metrics`` counts: the routes of a trigger share both.

    ``half_met`` is what they share of the trigger's conditions, None if an event of the dependency is enough. ``dlq``
    is the route of what becomes a dead letter. ``rate`` spreads the runs of the trigger over time.
    """

    def __init__(
        self,
        sensor: Sensor,
        manifest: Action,
        trigger: Trigger[Any],
        dependency: Dependency | None = None,
        metrics: TriggerMetrics | None = None,
        dlq: Route | None = None,
    ) -> None:
        self.sensor = sensor.name
        self.name = manifest.name
        self.dependency = dependency or sensor.needs(manifest)[0]
        self.subscription = sensor.subscription(manifest, self.dependency)
        self.expression = sensor.expression(manifest)
        self._dependencies = frozenset(known.name for known in sensor.spec.dependencies)
        self.half_met_in = partial(half_met_in, sensor, manifest)
        self.half_met: HalfMet | None = None
        self.dlq = dlq
        self.rate: Rate | None = None
        self.rate_limit = manifest.rate_limit
        self.filters = CompiledFilters(self.dependency.filters, self.dependency.filters_logical_operator)
        self.retry_strategy = manifest.retry_strategy
        self.paused = isinstance(manifest, TriggerManifest) and manifest.paused
        self.trigger = trigger
        self.metrics = metrics or TriggerMetrics(sensor.name, manifest.name)
        self.retry_reason = ""  # why the last run has to be repeated
        self.acks: set[asyncio.Task[None]] = set()  # the bus is being told of these successes
        self.codec: Codec = CLEAR  # opens what events wait with for the conditions
        self.missing_keys: dict[str, Missing] = {}  # with which events are encrypted that came, by name
        self.outdated = False  # whether it was logged that another process has another dependency for it
        self.in_thread: set[str] = set()  # steps whose last templates computed for too long on the event loop
        self.transforms = self.dependency.transform.program is not None
        self._type, self._config = manifest.template.type, manifest.template.config
        self._template = manifest.template
        self._parameters = [p for p in manifest.parameters if p.dest != "name"]  # the name of the manifest stays
        typed = manifest.template.trigger_type.parameters(self._config)
        self._sources = [each.src for each in (*self._parameters, *(each for _, each in typed))]
        self.has_parameters = bool(self._sources or self._template.key_path(self.dependency.name))
        self._partial = self._expected()
        self._wanted = self.dependency.event_source_name, self.dependency.event_name

    def _expected(self) -> jsonpath.Partial | None:
        """The paths that filters, parameters and ``conditionsKey`` read of the data. None if one needs all of it."""
        read = [path for path in (*self.filters.paths, self._template.key_path(self.dependency.name)) if path]
        for source in self._sources:
            if source.dependency_name == self.dependency.name:
                if source.data_template:
                    return None
                if source.data_key:
                    read.append(source.data_key)
        return jsonpath.Partial(read) if read else None

    def matches(self, event: Event) -> bool:
        """It is an event of the dependency."""
        return (event.source, event.subject) == self._wanted

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
            return self._prepared(event, values or self.values(event), attempt)
        except RecursionError:
            raise ParameterError("the event is nested too deep for what the parameters take from it") from None

    def _prepared(self, event: Event, values: Values, attempt: int) -> Any:
        config = self._config
        if self._parameters:
            template = rewrite(self._template, self._parameters, values)
            if template.type != self._type:
                raise ParameterError(f"the parameters turn a trigger of type {self._type} into another")
            config = template.config
            self._check_names(template)
        return self.trigger.prepare(
            TriggerRequest(
                self.sensor, self.name, self.dependency.name, event, config, values, attempt, self.subscription
            )
        )

    def _check_names(self, template: TriggerTemplate) -> None:
        """Raises ParameterError if parameters of the type, as those of the trigger made them, name no dependency."""
        for _, parameter in template.trigger_type.parameters(template.config):
            if (name := parameter.src.dependency_name) not in self._dependencies:
                raise ParameterError(f"the parameters name `{name}`, which is not a dependency of the Sensor")

    def values(self, event: Event) -> Values:
        """What filters and parameters read of an event of the dependency."""
        return Values(event, self.dependency.name, self._partial)

    def key(self, values: Values) -> str:
        """What an event must have in common with others to meet the conditions with them. Raises ParameterError."""
        path = self._template.key_path(self.dependency.name)
        if not path:
            return ""
        found = values.find(jsonpath.compile(path))
        if found is jsonpath.MISSING or found is None:
            raise ParameterError(f"the event has nothing at conditionsKey {path!r}")
        return jsonpath.text(found)


def half_met_in(sensor: Sensor, manifest: Action, state: StateStore, codec: Codec = CLEAR) -> HalfMet:
    """The state of a trigger's conditions. Without the bus's codec, its events are not opened."""
    template = manifest.template
    return HalfMet(
        state,
        f"{sensor.name}/{manifest.name}",
        sensor.expression(manifest),
        {needed.name: needed.print for needed in sensor.needs(manifest)},
        now=time.time,
        codec=codec,
        resets=template.resets,
        ttl=template.conditions_ttl if template.conditions_key else None,
    )


def build(manifest: Action, context: Context) -> Trigger[Any]:
    """The trigger of a manifest."""
    template = manifest.template
    return template.trigger_type.build(template.config, manifest.policy, context)


def route(sensor: Sensor, trigger: TriggerManifest, dependency: Dependency, **given: Any) -> Route:
    """The route of a trigger for the events of one dependency. The caller closes it, and the cluster."""
    return _Made(sensor, trigger, context(sensor, **given)).route(dependency)


def routes(sensor: Sensor, **given: Any) -> Iterator[Route]:
    """The `routes_of` each trigger of a Sensor, in the order of the manifest."""
    for trigger in sensor.spec.triggers:
        yield from routes_of(sensor, trigger, **given)


def routes_of(sensor: Sensor, trigger: TriggerManifest, **given: Any) -> Iterator[Route]:
    """The `route` of a trigger for each dependency that it needs, in the order of the manifest."""
    made = _Made(sensor, trigger, context(sensor, **given))
    for dependency in sensor.needs(trigger):
        yield made.route(dependency)


class _Made:
    """What the routes of a trigger share: the trigger, its dlqTrigger, and their metrics."""

    def __init__(self, sensor: Sensor, trigger: TriggerManifest, context: Context) -> None:
        self._sensor = sensor
        after = () if trigger.dlq_trigger is None else (trigger.dlq_trigger,)
        self._actions = [(a, build(a, context), TriggerMetrics(sensor.name, a.name)) for a in (*after, trigger)]

    def route(self, dependency: Dependency) -> Route:
        made: Route | None = None
        for action, trigger, metrics in self._actions:  # the dlqTrigger comes first
            made = Route(self._sensor, action, trigger, dependency, metrics, made)
        assert made is not None
        return made


async def close(routes: Iterable[Route]) -> None:
    """Close the triggers of the routes, each once, and end their metrics."""
    for route in all_of(routes := list(routes)):
        route.metrics.close()
    await asyncio.gather(
        *(trigger.close() for trigger in {id(each.trigger): each.trigger for each in all_of(routes)}.values())
    )


def all_of(routes: Iterable[Route]) -> list[Route]:
    """The routes and those of their dlqTriggers."""
    return [each for route in routes for each in (route, route.dlq) if each is not None]


def context(
    sensor: Sensor,
    *,
    concurrency: int,
    render: Render,
    mounts: Mounts,
    cluster: SharedCluster | None = None,
    addresses: Addresses = EVERYWHERE,
) -> Context:
    """What the triggers of a Sensor are built from."""
    shared = cluster or SharedCluster(no_cluster)
    namespace = sensor.metadata.namespace or shared.namespace
    keys = Keys(mounts, shared, namespace)
    return Context(sensor.name, concurrency, sensor.spec.logging_fields, render, keys, namespace, shared, addresses)
