"""What a trigger is asked to do, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.sensor.manifest import TriggerTemplate


@dataclass(frozen=True)
class TriggerRequest:
    """One event for one trigger, with every parameter applied.

    ``sensor``, ``trigger`` and ``dependency`` are the names in the manifest, whatever parameters made of the template.
    ``payload`` is what the manifest's ``payload`` builds; None if it has none. ``headers`` are its ``dynamicHeaders``.
    """

    sensor: str
    trigger: str
    dependency: str
    event: Event
    template: TriggerTemplate
    payload: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def idempotency_key(self) -> str:
        """The same for every repetition of this work, and for no other."""
        return f"{self.event.source}/{self.event.id}/{self.sensor}/{self.trigger}"
