"""The spans of events from their change to their commit. Each begins a trace, whose name the event carries."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kubecdc import tracing
from kubecdc.storage.contracts.event import Event


class Traces:
    """The traces of one watch that are not committed yet. Those that never will be are dropped with this object."""

    def __init__(self, found: tracing.Tracing, watch: str) -> None:
        self._tracing = found
        self._watch = watch
        self._open: dict[str, tracing.Span] = {}

    def begun(self, event: Event) -> Event:
        """The event, with the span that has begun for it."""
        about: dict[str, str | int | float | bool] = {
            "cloudevents.event_id": event.id,
            "cloudevents.event_source": event.source,
            "cloudevents.event_subject": event.subject,
            "cloudevents.event_type": event.type,
            "kubecdc.object": event.partitionkey,
            "kubecdc.watch": self._watch,
            "kubecdc.synthetic": event.synthetic,
        }
        span = self._tracing.begin(f"capture {event.source}/{event.subject}", "producer", about, "")
        if span.is_recorded:
            self._open[span.traceparent] = span
        return msgspec.structs.replace(event, traceparent=span.traceparent)

    def blocked(self, events: Iterable[Event], error: Exception) -> None:
        """The bus does not accept their commit yet."""
        for event in events:
            if span := self._open.get(event.traceparent):
                span.tell("the bus did not accept the commit", reason=str(error))

    def committed(self, events: Iterable[Event], count: int) -> None:
        """They are in the bus, by one commit of ``count`` events."""
        for event in events:
            if span := self._open.pop(event.traceparent, None):
                span.end(commit_events=count)


def of(watch: str) -> Traces | None:
    """None unless this process traces."""
    return None if tracing.active is None else Traces(tracing.active, watch)
