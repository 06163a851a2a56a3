"""The Sensor: which events run which triggers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.manifest.fields import DEFAULT_BUS, OF_PODS, BusName, Items, Printable, invalid, no_kubeconfig
from kubecdc.manifest.finding import Location
from kubecdc.manifest.model import Manifest, Model
from kubecdc.workers.conditions.expression import Expression
from kubecdc.workers.sensor.filters.manifest import Filters, Operator
from kubecdc.workers.sensor.parameter_manifest import Parameter
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.sensor.rate_limit import RateLimit
from kubecdc.workers.sensor.retry_strategy import RetryStrategy
from kubecdc.workers.sensor.template import TriggerTemplate
from kubecdc.workers.sensor.transform import Transform

_PLACE = "it belongs beside `template`"
_SETTINGS = {  # of a trigger. What it sends does not depend on them
    "atLeastOnce": "every trigger runs at least once",
    **dict.fromkeys(("policy", "retryStrategy", "rateLimit"), _PLACE),
}
OLD = "it is of Argo Events before 1.0, which had gateways: write an EventSource, and name it as `eventSourceName`"


class Dependency(Model):
    """The events that a Sensor waits for."""

    without_effect: ClassVar[Mapping[str, str]] = {
        "namespace": "an EventSource is known by its name",
        "eventBusName": "`spec.eventBusName` counts",
        "jsonBody": "it is a field of EventSources",
    }
    hints: ClassVar[Mapping[str, str]] = {"gatewayName": OLD}

    name: Printable
    event_source_name: Printable
    event_name: Printable
    transform: Transform = Transform()
    filters: Filters = Filters()
    filters_logical_operator: Operator = ""

    @property
    def print(self) -> str:
        """What changes with the dependency, but not with its name."""
        text = self.model_dump_json(by_alias=True, exclude_unset=True, exclude={"name"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Action(Model):
    """What a trigger does with an event. The ``dest`` of its ``parameters`` is relative to the template."""

    astray: ClassVar[Mapping[str, str]] = _SETTINGS

    template: TriggerTemplate
    parameters: Items[Parameter] = ()
    policy: Policy = Policy()
    retry_strategy: RetryStrategy | None = None
    rate_limit: RateLimit | None = None
    at_least_once: bool | None = None

    @field_validator("policy")
    @classmethod
    def _fits(cls, value: Policy, info: ValidationInfo) -> Policy:
        template = info.data.get("template")
        if template and (wrong := value.defect(template.trigger_type.policies)):
            raise invalid(wrong)
        return value

    @property
    def name(self) -> str:
        """``template.name``."""
        return self.template.name

    @property
    def written(self) -> frozenset[str]:
        """The paths in the config of the type that parameters write. It is "" where one replaces all of the config."""
        template = self.template
        parts = [re.split(r"[.|]", parameter.dest, maxsplit=1) for parameter in self.parameters]
        found = {"".join(rest) for first, *rest in parts if first == template.type}
        own = (item for _, item in template.trigger_type.parameters(template.config))
        return frozenset(found | {item.dest for item in own if isinstance(item, Parameter)})


class DlqTrigger(Action):
    """What runs for an event that becomes a dead letter of a trigger."""

    hints: ClassVar[Mapping[str, str]] = {
        "dlqTrigger": "a dlqTrigger has none of its own: what it fails for is a dead letter in the bus",
        "paused": "pause the trigger",
    }

    @field_validator("template")
    @classmethod
    def _unconditional(cls, value: TriggerTemplate) -> TriggerTemplate:
        if value.conditions or value.conditions_key or value.conditions_reset:
            raise invalid("has conditions: a dlqTrigger runs when its trigger has failed", "leave them out")
        return value


class Trigger(Action):
    """A trigger: it has a subscription of its own."""

    dlq_trigger: DlqTrigger | None = None
    paused: bool = False


class SensorSpec(Model):
    ignored: ClassVar[frozenset[str]] = frozenset(
        {"template", "replicas", "revisionHistoryLimit", "errorOnFailedRound"}
    )
    without_effect: ClassVar[Mapping[str, str]] = {**_SETTINGS, **OF_PODS}
    hints: ClassVar[Mapping[str, str]] = {
        "subscription": OLD,
        "circuit": "write `conditions` on each trigger",
        "dependencyGroups": "write `conditions` on each trigger",
    }

    _no_kubeconfig = model_validator(mode="before")(no_kubeconfig)

    dependencies: Items[Dependency]
    triggers: Items[Trigger]
    event_bus_name: BusName = DEFAULT_BUS
    logging_fields: dict[str, str] = Field(default_factory=dict)

    @field_validator("dependencies")
    @classmethod
    def _some_dependency(cls, value: tuple[Dependency, ...]) -> tuple[Dependency, ...]:
        if not value:
            raise invalid("is empty: a Sensor needs a dependency")
        return value

    @field_validator("triggers")
    @classmethod
    def _some(cls, value: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
        if not value:
            raise invalid("is empty: a Sensor without a trigger does nothing")
        return value


class Sensor(Manifest):
    """Runs its triggers for the events of its dependencies."""

    kind: Literal["Sensor"]
    spec: SensorSpec

    def expression(self, trigger: Action) -> Expression:
        """The conditions of a trigger."""
        return trigger.template.expression([dependency.name for dependency in self.spec.dependencies])

    @property
    def uses_cluster(self) -> bool:
        """Whether a trigger makes requests to the cluster."""
        return any(action.template.trigger_type.uses_cluster for _, _, action in self.actions)

    @property
    def actions(self) -> Iterator[tuple[Location, Trigger, Action]]:
        """Each trigger, and each dlqTrigger after its trigger: the location, the trigger, and it."""
        for i, trigger in enumerate(self.spec.triggers):
            at: Location = ("spec", "triggers", i)
            yield at, trigger, trigger
            if trigger.dlq_trigger is not None:
                yield (*at, "dlqTrigger"), trigger, trigger.dlq_trigger

    def needs(self, trigger: Action) -> list[Dependency]:
        """The dependencies in the conditions of a trigger, in the order of the manifest."""
        names = self.expression(trigger).names
        return [dependency for dependency in self.spec.dependencies if dependency.name in names]

    def subscription(self, trigger: Action, dependency: Dependency) -> str:
        """The subscription in the bus: ``<sensor>/<trigger>``, with ``/<dependency>`` if the trigger needs several."""
        name = f"{self.name}/{trigger.name}"
        return name if len(self.needs(trigger)) == 1 else f"{name}/{dependency.name}"

    def subscriptions(self) -> Iterator[tuple[str, Trigger, Dependency]]:
        """All its subscriptions in the bus: the name, the trigger, and the dependency whose events it has."""
        for trigger in self.spec.triggers:
            for dependency in self.needs(trigger):
                yield self.subscription(trigger, dependency), trigger, dependency
