"""What manifests say of each other: dependencies, buses, names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from kubecdc.cli.manifests.findings import Finding, nearest
from kubecdc.cli.manifests.problem import Location
from kubecdc.manifest.model import Model
from kubecdc.storage.manifest import BusSubscription, EventBus
from kubecdc.watcher.manifest import EventSource
from kubecdc.workers.sensor.manifest import Dependency, Sensor, Trigger
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter
from kubecdc.workers.triggers.http.manifest import DynamicHeader


@dataclass(frozen=True)
class Offer:
    """What an EventSource says it publishes, and to which bus ("" if that could not be read)."""

    events: frozenset[str]
    bus: str


@dataclass(frozen=True)
class Known:
    """What was declared, by name. A source that cannot be read at all is None: it may offer anything."""

    sources: Mapping[str, Offer | None]
    buses: frozenset[str] | None  # None if one of them has no name
    sensors: tuple[Sensor, ...]


def of_source(source: EventSource, known: Known) -> Iterator[Finding]:
    """What is wrong with the references of an EventSource."""
    yield from _bus(source.spec.event_bus_name, known)


def of_sensor(sensor: Sensor, known: Known) -> Iterator[Finding]:
    """What is wrong with the references of a Sensor, its own names included."""
    bus = sensor.spec.event_bus_name
    yield from _bus(bus, known)
    dependency = sensor.dependency
    yield from _event(dependency, ("spec", "dependencies", 0), bus, known)
    counts = Counter(trigger.name for trigger in sensor.spec.triggers)
    seen: set[str] = set()
    for i, trigger in enumerate(sensor.spec.triggers):
        at: Location = ("spec", "triggers", i)
        if trigger.name in seen:
            yield Finding((*at, "template", "name"), f"{counts[trigger.name]} triggers have the name `{trigger.name}`")
        seen.add(trigger.name)
        yield from _conditions(trigger, at, dependency)
        yield from _destinations(trigger, at)
        yield from _url(trigger, at)
        for location, parameter in _parameters(trigger, at):
            if parameter.src.dependency_name != dependency.name:
                yield Finding(
                    (*location, "src", "dependencyName"),
                    f"`{parameter.src.dependency_name}` is not a dependency of this Sensor",
                    f"its dependency is `{dependency.name}`",
                )


def of_bus(bus: EventBus, known: Known) -> Iterator[Finding]:
    """What is wrong with the subscriptions of an EventBus."""
    triggers = {s.subscription(t) for s in known.sensors if s.spec.event_bus_name == bus.name for t in s.spec.triggers}
    seen: set[str] = set()
    for i, subscription in enumerate(bus.spec.subscriptions):
        at: Location = ("spec", "subscriptions", i)
        if subscription.name in seen:
            yield Finding((*at, "name"), f"two subscriptions have the name `{subscription.name}`")
        if subscription.name in triggers:
            yield Finding((*at, "name"), f"`{subscription.name}` is the subscription of a Sensor's trigger")
        seen.add(subscription.name)
        yield from _event(subscription, at, bus.name, known)


def _bus(name: str, known: Known) -> Iterator[Finding]:
    if known.buses is not None and name not in known.buses:
        yield Finding(("spec", "eventBusName"), f"there is no EventBus `{name}`", _have("EventBus", name, known.buses))


def _event(wanted: Dependency | BusSubscription, at: Location, bus: str, known: Known) -> Iterator[Finding]:
    if not known.sources:
        return
    name, event = wanted.event_source_name, wanted.event_name
    if name not in known.sources:
        hint = _have("EventSource", name, known.sources)
        yield Finding((*at, "eventSourceName"), f"there is no EventSource `{name}`", hint)
        return
    source = known.sources[name]
    if source is None:
        return
    if event not in source.events:
        hint = _have("event", event, source.events)
        yield Finding((*at, "eventName"), f"EventSource `{name}` has no event `{event}`", hint)
    if source.bus not in {"", bus}:
        yield Finding(
            (*at, "eventSourceName"),
            f"EventSource `{name}` publishes to EventBus `{source.bus}`, and this is on `{bus}`",
        )


def _conditions(trigger: Trigger, at: Location, dependency: Dependency) -> Iterator[Finding]:
    text = trigger.template.conditions.strip()
    bare = text
    while bare.startswith("(") and bare.endswith(")"):
        bare = bare[1:-1].strip()
    if text and bare != dependency.name:
        yield Finding(
            (*at, "template", "conditions"),
            f"{text!r} is not supported yet: it may only name the one dependency",
            f"write `{dependency.name}`, or leave it out",
        )


def _parameters(trigger: Trigger, at: Location) -> Iterator[tuple[Location, PayloadParameter | DynamicHeader]]:
    places: dict[Location, Sequence[PayloadParameter | DynamicHeader]] = {(*at, "parameters"): trigger.parameters}
    if trigger.template.http is not None:
        http: Location = (*at, "template", "http")
        places[(*http, "payload")] = trigger.template.http.payload
        places[(*http, "parameters")] = trigger.template.http.parameters
        places[(*http, "dynamicHeaders")] = trigger.template.http.dynamic_headers
    for place, parameters in places.items():
        for i, parameter in enumerate(parameters):
            yield (*place, i), parameter


def _destinations(trigger: Trigger, at: Location) -> Iterator[Finding]:
    """Fields that parameters write and that are not there: the value would go nowhere."""
    template = trigger.template
    kind = "http" if template.http is not None else "log"
    model = type(template.http or template.log)
    fields = model.field_types() if issubclass(model, Model) else {}
    for i, parameter in enumerate(trigger.parameters):
        location = (*at, "parameters", i, "dest")
        first, second = (*re.split(r"[.|]", parameter.dest, maxsplit=2), "", "")[:2]
        if first == "name":
            continue  # without effect, as in Argo
        if first != kind:
            hint = f"it is relative to the template: begin with `{kind}.`"
            yield Finding(location, f"`{parameter.dest}` is not a part of this trigger", hint)
        else:
            yield from _field(second, kind, fields, location)
    for i, parameter in enumerate(template.http.parameters if template.http else ()):
        first = re.split(r"[.|]", parameter.dest, maxsplit=1)[0]
        yield from _field(first, "http", fields, (*at, "template", "http", "parameters", i, "dest"))


def _field(name: str, kind: str, fields: Iterable[str], location: Location) -> Iterator[Finding]:
    if name not in fields:
        yield Finding(location, f"`{kind}` has no field `{name}`", _have("field", name, fields))
    elif name == "tls":
        yield Finding(location, "`tls` is the same for all events", "make a trigger of each server")


def _url(trigger: Trigger, at: Location) -> Iterator[Finding]:
    http = trigger.template.http
    if http is None:
        return
    written = [parameter.dest for parameter in http.parameters] + [
        parameter.dest.removeprefix("http.") for parameter in trigger.parameters
    ]
    parts = urlsplit(http.url)
    if "url" not in written and (parts.scheme not in ("http", "https") or not parts.netloc):
        yield Finding((*at, "template", "http", "url"), f"{http.url!r} is not an HTTP address", "https://host/path")


def _have(kind: str, name: str, names: Iterable[str]) -> str:
    near = nearest(name, names)
    if near:
        return f"did you mean `{near}`?"
    return f"there is {kind} " + ", ".join(f"`{n}`" for n in sorted(names))
