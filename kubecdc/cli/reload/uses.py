"""What the manifests ask of a process, for each bus. A start and a reload both begin with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubecdc.cli.buses import subscriptions_of
from kubecdc.cli.manifests.loading import Manifests
from kubecdc.errors import UsageError
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.manifest import EventBus
from kubecdc.watcher.manifest import Entries, entries_of
from kubecdc.workers.plan import Plan, plan_of


@dataclass(frozen=True)
class BusUse:
    """A bus, and what the process does on it: the entries that it watches, the triggers that it works for.

    ``subscriptions`` are those of all manifests, whatever this process does.
    """

    manifest: EventBus
    subscriptions: list[SubscriptionSpec]
    entries: Entries
    triggers: Plan

    @property
    def watched(self) -> bool:
        """Whether it may lead there."""
        return bool(self.entries)

    @property
    def by_name(self) -> Mapping[str, SubscriptionSpec]:
        """The subscriptions by name."""
        return {spec.name: spec for spec in self.subscriptions}

    @property
    def needs_cluster(self) -> bool:
        """Whether a trigger makes requests to the cluster."""
        return any(planned.sensor.uses_cluster for planned in self.triggers.values())


Uses = Mapping[str, BusUse]  # by the name of the bus


def uses_of(manifests: Manifests, *, watch: bool, work: bool) -> dict[str, BusUse]:
    """The buses that the process uses, in the order of the manifests.

    Raises UsageError if it would have nothing to do.
    """
    if watch and not manifests.sources:
        raise UsageError("the manifests have no EventSource: nothing to watch", hint="add one with -f")
    if work and not watch and not manifests.sensors:
        raise UsageError("the manifests have no Sensor: nothing to work on", hint="add one with -f")
    watched = list(manifests.sources.values()) if watch else []
    worked = list(manifests.sensors.values()) if work else []
    uses: dict[str, BusUse] = {}
    for bus in manifests.buses.values():
        sources = [source for source in watched if source.spec.event_bus_name == bus.name]
        sensors = [sensor for sensor in worked if sensor.spec.event_bus_name == bus.name]
        if sources or sensors:
            uses[bus.name] = BusUse(bus, subscriptions_of(manifests, bus), entries_of(sources), plan_of(sensors))
    return uses


def require_no_restart(old: Uses, new: Uses) -> None:
    """Raise UsageError if what differs takes another process: buses are opened at the start only."""
    for name in [*old, *(name for name in new if name not in old)]:
        if reason := _restart(old.get(name), new.get(name)):
            raise UsageError(
                f"EventBus/{name}: {reason}: that needs a restart",
                hint="restart the process, or undo the change; until then, all of the previous manifests stay in use",
            )


def _restart(old: BusUse | None, new: BusUse | None) -> str:
    if old is None:
        return "no EventSource or Sensor used this bus before"
    if new is None:
        return "no EventSource or Sensor uses this bus any more"
    if old.watched != new.watched:
        return f"it has {'its first' if new.watched else 'no'} EventSource now"
    was, is_ = old.manifest, new.manifest
    if was.metadata.namespace != is_.metadata.namespace:
        return "metadata.namespace changed"
    fields = type(was.spec).model_fields
    changed = [
        field.alias or name
        for name, field in fields.items()
        if name != "subscriptions" and getattr(was.spec, name) != getattr(is_.spec, name)
    ]
    return f"{', '.join(f'spec.{name}' for name in changed)} changed" if changed else ""
