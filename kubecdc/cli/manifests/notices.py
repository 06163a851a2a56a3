"""What a valid manifest has that its author should know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubecdc.cli.manifests.problem import Place
from kubecdc.manifest.model import Manifest
from kubecdc.storage.manifest import EventBus
from kubecdc.watcher.manifest import EventSource
from kubecdc.workers.sensor.manifest import Action, Sensor


def notices_of(place: Place, model: Manifest, content: Mapping[str, Any]) -> Iterator[str]:
    """A notice for each field that has no effect, or one that may surprise. ``content`` is what was written."""
    if not isinstance(model, EventBus | EventSource | Sensor):
        return
    spec = type(model.spec)
    ignored = [f"spec.{name}" for name in content["spec"] if name in spec.ignored]
    if ignored:
        yield f"{place}: {', '.join(ignored)}: accepted, without effect"
    if isinstance(model, EventSource):
        for name in sorted(name for name, entry in model.spec.resource.items() if entry.sends_secrets):
            yield (
                f"{place}: resource.{name} sends the values of Secrets into the queue: "
                "add `project: {redact: [data, stringData]}`, unless they are wanted there"
            )
    if not isinstance(model, Sensor):
        return
    contexts = [dependency.filters.context for dependency in model.spec.dependencies]
    for name in sorted({name for c in contexts if c for name in c.unused if getattr(c, name)}):
        yield f"{place}: filters.context.{name} has no effect: filters ignore it"
    triggers = [action for _, _, action in model.actions]
    if any(trigger.at_least_once is False for trigger in triggers):
        yield f"{place}: atLeastOnce: false has no effect: every trigger runs at least once"
    for notice in sorted({notice for trigger in triggers for notice in _of_type(trigger)}):
        yield f"{place}: {notice}"
    for name, policy in sorted({pair for trigger in triggers for pair in _unused_policies(trigger)}):
        yield f"{place}: policy.{policy} has no effect on a {name} trigger"


def _of_type(trigger: Action) -> Iterator[str]:
    """The notices of the trigger type."""
    template = trigger.template
    for notice in template.trigger_type.notices(template.config):
        yield f"trigger {trigger.name}: {notice}"


def _unused_policies(trigger: Action) -> Iterator[tuple[str, str]]:
    """The parts of the policy that the trigger type ignores."""
    template = trigger.template
    for name in trigger.policy.given:
        if name not in template.trigger_type.policies:
            yield template.type, name
