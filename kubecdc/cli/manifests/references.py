"""Checks the references between manifests: dependencies, buses and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kubecdc.cli.manifests.fields import nearest
from kubecdc.cli.manifests.names import Namesakes
from kubecdc.manifest.finding import Finding, Location
from kubecdc.manifest.model import Manifest
from kubecdc.storage.installed import store_types
from kubecdc.storage.manifest import BusSubscription, EventBus
from kubecdc.watcher.manifest import EventSource
from kubecdc.workers.conditions.manifest import ANY
from kubecdc.workers.sensor.manifest import Action, Dependency, Sensor, Trigger
from kubecdc.workers.sensor.parameter_manifest import FromEvent, Parameter
from kubecdc.workers.sensor.template import Template


@dataclass(frozen=True)
class Offer:
    """The events that an EventSource publishes, and their bus ("" if that could not be read)."""

    events: frozenset[str]
    bus: str


@dataclass(frozen=True)
class Known:
    """The declared manifests by name. A source that is invalid is None: its events are unknown."""

    sources: Mapping[str, Offer | None]
    buses: frozenset[str] | None  # None if one of them has no name
    sensors: tuple[Sensor, ...]
    stores: Mapping[str, str]  # what is stored where: the name of the first bus that has it
    without_state: frozenset[str]  # the buses that keep no state that changes with each event
    namesakes: Namesakes
    to_run: bool  # triggers run here


def of_source(source: EventSource, known: Known) -> Iterator[Finding]:
    """The problems in the references of an EventSource."""
    yield from _bus(source, source.spec.event_bus_name, known)


def of_sensor(sensor: Sensor, known: Known) -> Iterator[Finding]:
    """The problems in the references of a Sensor, and duplicate names in it."""
    bus = sensor.spec.event_bus_name
    yield from _bus(sensor, bus, known)
    names: dict[str, None] = {}
    for i, dependency in enumerate(sensor.spec.dependencies):
        if dependency.name in names:
            yield Finding(("spec", "dependencies", i, "name"), f"two dependencies have the name `{dependency.name}`")
        names[dependency.name] = None
        yield from _event(dependency, ("spec", "dependencies", i), sensor, bus, known)
    counts = Counter(action.name for _, _, action in sensor.actions)
    seen: set[str] = set()
    for at, trigger, action in sensor.actions:
        if action.name in seen:
            yield Finding((*at, "template", "name"), f"{counts[action.name]} triggers have the name `{action.name}`")
        seen.add(action.name)
        if action is trigger:
            yield from _conditions(sensor, trigger, at, known)
        yield from _type(action, at, to_run=known.to_run)
        for location, parameter in _parameters(action, at):
            if _is_written(action, (*location, "src", "dependencyName"), at):
                continue
            yield from _dependency_name(
                parameter.src.dependency_name, sensor, trigger, (*location, "src", "dependencyName")
            )


def of_bus(bus: EventBus, known: Known) -> Iterator[Finding]:
    """The problems in the subscriptions of an EventBus, and a store that another one has."""
    for store, field in bus.stores.items():
        if (other := known.stores[store]) != bus.name:
            yield Finding(
                ("spec", field),
                f"EventBus `{other}` stores its data there too ({store})",
                f"give each a store of its own, or use `{other}` alone: set `eventBusName` to it",
            )
    triggers = {name for s in known.sensors if s.spec.event_bus_name == bus.name for name, *_ in s.subscriptions()}
    seen: set[str] = set()
    for i, subscription in enumerate(bus.spec.subscriptions):
        at: Location = ("spec", "subscriptions", i)
        if subscription.name in seen:
            yield Finding((*at, "name"), f"two subscriptions have the name `{subscription.name}`")
        if subscription.name in triggers:
            yield Finding((*at, "name"), f"`{subscription.name}` is the subscription of a Sensor's trigger")
        seen.add(subscription.name)
        yield from _event(subscription, at, bus, bus.name, known)


def _bus(manifest: Manifest, name: str, known: Known) -> Iterator[Finding]:
    at: Location = ("spec", "eventBusName")
    if known.buses is None:
        return
    if otherwise := [*known.namesakes.meant("EventBus", manifest.metadata.namespace, name, at)]:
        yield from otherwise
    elif name not in known.buses:
        yield Finding(at, f"there is no EventBus `{name}`", _suggestion(name, known.buses))


def _event(
    wanted: Dependency | BusSubscription, at: Location, manifest: Manifest, bus: str, known: Known
) -> Iterator[Finding]:
    """``manifest`` wants the event, on ``bus``."""
    if not known.sources:
        return
    name, event = wanted.event_source_name, wanted.event_name
    where = (*at, "eventSourceName")
    if otherwise := [*known.namesakes.meant("EventSource", manifest.metadata.namespace, name, where)]:
        yield from otherwise
        return
    if name not in known.sources:
        yield Finding(where, f"there is no EventSource `{name}`", _suggestion(name, known.sources))
        return
    source = known.sources[name]
    if source is None:
        return
    if event not in source.events:
        hint = _suggestion(event, source.events)
        yield Finding((*at, "eventName"), f"EventSource `{name}` has no event `{event}`", hint)
    if source.bus not in {"", bus}:
        yield Finding(where, f"EventSource `{name}` publishes to EventBus `{source.bus}`, not to `{bus}`")


def _conditions(sensor: Sensor, trigger: Trigger, at: Location, known: Known) -> Iterator[Finding]:
    template, names = trigger.template, [dependency.name for dependency in sensor.spec.dependencies]
    expression = sensor.expression(trigger)
    for name in sorted(expression.names - set(names)):
        location = (*at, "template", "conditions")
        yield Finding(location, f"`{name}` is not a dependency of this Sensor", _suggestion(name, names))
    for name in template.conditions_key:
        if name not in [*names, ANY]:
            location = (*at, "template", "conditionsKey", name)
            yield Finding(location, f"`{name}` is not a dependency of this Sensor", _suggestion(name, names))
    without = sorted(expression.names - expression.alone) if expression.names <= set(names) else []
    if without and sensor.spec.event_bus_name in known.without_state:
        yield Finding(
            (*at, "template", "conditions"),
            f"EventBus `{sensor.spec.event_bus_name}` cannot store half-met conditions: its checkpoint store takes no "
            "change with each event",
            f"give the EventBus {_stores_that_do()}",
        )
    if template.conditions_key:
        for name in without:
            if not template.key_path(name):
                yield Finding(
                    (*at, "template", "conditionsKey"),
                    f"has no path for `{name}`",
                    "write one for each dependency in the conditions, or one path for all",
                )


def _stores_that_do() -> str:
    kinds = store_types().types
    return " or ".join(f"`checkpoint: {{{name}: {kind.example}}}`" for name, kind in kinds.items() if kind.frequent)


def _dependency_name(name: str, sensor: Sensor, trigger: Trigger, at: Location) -> Iterator[Finding]:
    names = [dependency.name for dependency in sensor.spec.dependencies]
    if name not in names:
        hint = f"its dependency is `{names[0]}`" if len(names) == 1 else _suggestion(name, names)
        yield Finding(at, f"`{name}` is not a dependency of this Sensor", hint)
    elif name not in sensor.expression(trigger).names:
        yield Finding(at, f"`{name}` is not in the conditions of this trigger: it never gets an event of it")


def _parameters(action: Action, at: Location) -> Iterator[tuple[Location, FromEvent]]:
    for i, parameter in enumerate(action.parameters):
        yield (*at, "parameters", i), parameter
    template = action.template
    for location, found in template.trigger_type.parameters(template.config):
        yield (*at, "template", template.type, *location), found


def _is_written(action: Action, location: Location, at: Location) -> bool:
    """Whether a parameter of the trigger writes a field of its type, or what it is in."""
    path = [str(part) for part in location[len(at) + 2 :]]
    return bool(path) and any(".".join(path[:depth]) in action.written for depth in range(len(path) + 1))


def _type(action: Action, at: Location, *, to_run: bool) -> Iterator[Finding]:
    """The problems that the trigger type reports, and parameters that write fields that the type does not have."""
    template = action.template
    for i, parameter in enumerate(action.parameters):
        location = (*at, "parameters", i, "dest")
        first, *rest = re.split(r"[.|]", parameter.dest, maxsplit=1)
        if first == "name":
            continue  # has no effect, as in Argo
        if first != template.type:
            hint = f"it is relative to the template: start with `{template.type}.`"
            yield Finding(location, f"`{parameter.dest}` is not in this trigger", hint)
        else:
            yield from _destination("".join(rest), template, location)
    start = (*at, "template", template.type)
    for location, found in template.trigger_type.parameters(template.config):
        if isinstance(found, Parameter):
            yield from _destination(found.dest, template, (*start, *location, "dest"))
    found_by_type = [*template.trigger_type.problems(template.config, action.written)]
    if to_run:
        found_by_type += template.trigger_type.missing(template.config, action.written)
    for finding in found_by_type:
        yield replace(finding, location=(*start, *finding.location))


def _destination(dest: str, template: Template, location: Location) -> Iterator[Finding]:
    field, fields = re.split(r"[.|]", dest, maxsplit=1)[0], template.trigger_type.model.field_types()
    if field not in fields:
        yield Finding(location, f"`{template.type}` has no field `{field}`", _suggestion(field, fields))
    elif field in template.trigger_type.fixed:
        hint = template.trigger_type.fixed[field]
        yield Finding(location, f"`{field}` cannot depend on the event", hint)


def _suggestion(name: str, names: Iterable[str]) -> str:
    near = nearest(name, names)
    if near:
        return f"did you mean `{near}`?"
    return "available: " + ", ".join(f"`{n}`" for n in sorted(names))
