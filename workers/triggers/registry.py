"""The trigger types, by the name of their field in the manifest's ``template``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kubecdc.manifest.mounts import Mounts
from kubecdc.workers.outcome import Outcome
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.manifest import TRIGGER_TYPES, TriggerTemplate
from kubecdc.workers.sensor.manifest import Trigger as TriggerManifest
from kubecdc.workers.triggers.http.trigger import HttpTrigger
from kubecdc.workers.triggers.log.lines import Render
from kubecdc.workers.triggers.log.trigger import LogTrigger, json_line


class Trigger(Protocol):
    """What acts on events. One per trigger of a Sensor, shared by all its deliveries in flight."""

    async def execute(self, request: TriggerRequest) -> Outcome:
        """Do it once, within a deadline of its own. May be cancelled, and may be repeated for the same request.

        An exception is a fault of the trigger: the attempt counts as failed.
        """
        ...

    def preview(self, request: TriggerRequest) -> Mapping[str, object]:
        """What `execute` would do, for people: nothing secret, and nothing is done or read. Raises BadUrl."""
        ...

    async def close(self) -> None:
        """Give back what it holds; nothing is executed afterwards."""
        ...


@dataclass(frozen=True)
class Context:
    """What a trigger may be built from, beside its own manifest."""

    sensor: str
    concurrency: int
    logging_fields: Mapping[str, str] = field(default_factory=dict)
    render: Render = json_line  # how the log trigger writes
    mounts: Mounts = field(default_factory=Mounts)


_TYPES: dict[str, Callable[[TriggerManifest, Context], Trigger]] = {
    "http": lambda trigger, context: HttpTrigger(
        allow=trigger.policy.status.allow if trigger.policy.status else (),
        tls=trigger.template.http.tls if trigger.template.http else None,
        mounts=context.mounts,
        concurrency=context.concurrency,
    ),
    "log": lambda trigger, context: LogTrigger(fields=context.logging_fields, render=context.render),
}


def type_of(template: TriggerTemplate) -> str:
    """The name of the one type that a template has."""
    return next(name for name in TRIGGER_TYPES if getattr(template, name) is not None)


def build(trigger: TriggerManifest, context: Context) -> Trigger:
    """The trigger that a manifest asks for. Its type is known: the manifest was validated."""
    return _TYPES[type_of(trigger.template)](trigger, context)
