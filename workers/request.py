"""What a trigger is asked to do, as a value."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from kubecdc import tracing
from kubecdc.manifest.model import Model
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.sensor.values import Values

Config = TypeVar("Config", bound=Model)


class TriggerRequest(msgspec.Struct, Generic[Config], frozen=True):
    """One event for one trigger.

    ``sensor``, ``trigger`` and ``dependency`` are the names in the manifest, whatever parameters make of the template.
    ``config`` is the type's part of the template, with the ``parameters`` of the trigger applied; the type applies
    those in the config, with ``values``. ``attempt`` counts from 1; tries of a retryStrategy are one attempt.
    ``subscription`` is the name of the subscription that the event is of.
    """

    sensor: str
    trigger: str
    dependency: str
    event: Event
    config: Config
    values: Values
    attempt: int = 1
    subscription: str = ""

    @property
    def traceparent(self) -> str:
        """What to pass on (W3C Trace Context), as long as the trigger runs: the span of that. A process that does not
        trace passes on what the event has; "" if it has nothing."""
        return tracing.current() or self.event.traceparent

    @property
    def idempotency_key(self) -> str:
        """The same for every repetition of this work, and for no other."""
        event = self.event
        within = f"{event.cluster}/" if event.cluster else ""
        return f"{within}{event.source}/{event.id}/{self.subscription or f'{self.sensor}/{self.trigger}'}"
