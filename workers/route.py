"""One trigger of one Sensor, made ready: which events are its own, and what each of them asks it to do."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.metrics import TriggerMetrics
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.manifest import Sensor, TriggerTemplate
from kubecdc.workers.sensor.manifest import Trigger as TriggerManifest
from kubecdc.workers.sensor.parameters import ParameterError, Values, apply, headers, payload
from kubecdc.workers.triggers.registry import Trigger, type_of


class Route:
    """The way from an event to a request. ``trigger`` acts on it, ``metrics`` counts."""

    def __init__(self, sensor: Sensor, manifest: TriggerManifest, trigger: Trigger) -> None:
        self.sensor = sensor.name
        self.name = manifest.name
        self.dependency = sensor.dependency
        self.retry_strategy = manifest.retry_strategy
        self.trigger = trigger
        self.metrics = TriggerMetrics(sensor.name, manifest.name)
        self.trouble = ""  # why the last run has to be repeated
        self.outdated = False  # whether it was said that another process has another dependency for it
        self._type = type_of(manifest.template)
        self._template = manifest.template
        self._parameters = manifest.parameters

    def matches(self, event: Event) -> bool:
        """It is an event of the dependency."""
        return event.source == self.dependency.event_source_name and event.subject == self.dependency.event_name

    def request(self, event: Event) -> TriggerRequest:
        """What the event asks the trigger to do. Raises ParameterError: it can never be done for this event.

        First the trigger's own ``parameters`` rewrite the template, then those of its type rewrite what the type
        says; the result is validated like a manifest. ``payload`` and ``dynamicHeaders`` come last.
        """
        values = Values(event)
        template = self._template
        if self._parameters:
            template = _validated(apply(_document(template), self._parameters, values))
            if type_of(template) != self._type:
                raise ParameterError(f"the parameters turn a trigger of type {self._type} into another")
        http = template.http
        if http is not None and http.parameters:
            document = _document(template)
            document["http"] = apply(document["http"], http.parameters, values)
            template = _validated(document)
            http = template.http
        return TriggerRequest(
            sensor=self.sensor,
            trigger=self.name,
            dependency=self.dependency.name,
            event=event,
            template=template,
            payload=payload(http.payload, values) if http is not None and http.payload else None,
            headers=headers(http.dynamic_headers, values) if http is not None else {},
        )


def _document(template: TriggerTemplate) -> dict[str, Any]:
    return template.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _validated(document: object) -> TriggerTemplate:
    try:
        return TriggerTemplate.model_validate(document)
    except ValidationError as e:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors(include_url=False))
        raise ParameterError(f"the parameters make a template that is not valid: {problems}") from e
