"""The work of the workers: the triggers of the Sensors on one bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.workers.sensor.manifest import Dependency, Sensor, Trigger


@dataclass(frozen=True)
class Planned:
    """A trigger, and the other parts of its Sensor that it depends on. Two that are equal do the same."""

    sensor: Sensor = field(compare=False)
    trigger: Trigger
    needs: tuple[Dependency, ...]
    dependencies: tuple[str, ...]  # the names of all
    namespace: str
    logging_fields: tuple[tuple[str, str], ...]

    @staticmethod
    def of(sensor: Sensor, trigger: Trigger) -> Planned:
        """The plan for a trigger of the Sensor."""
        return Planned(
            sensor,
            trigger,
            tuple(sensor.needs(trigger)),
            tuple(dependency.name for dependency in sensor.spec.dependencies),
            sensor.metadata.namespace,
            tuple(sensor.spec.logging_fields.items()),
        )

    @property
    def subscriptions(self) -> list[str]:
        """Its subscriptions in the bus."""
        return [self.sensor.subscription(self.trigger, dependency) for dependency in self.needs]


Plan = Mapping[str, Planned]  # by `<sensor>/<trigger>`


def plan_of(sensors: Iterable[Sensor]) -> dict[str, Planned]:
    """The triggers of the Sensors, in the order of the manifests."""
    return {f"{s.name}/{trigger.name}": Planned.of(s, trigger) for s in sensors for trigger in s.spec.triggers}


def subscriptions(sensors: Iterable[Sensor]) -> list[SubscriptionSpec]:
    """The subscriptions of the Sensors, one for each dependency of each trigger."""
    return [
        SubscriptionSpec(name, dependency.event_source_name, dependency.event_name)
        for sensor in sensors
        for name, _, dependency in sensor.subscriptions()
    ]
