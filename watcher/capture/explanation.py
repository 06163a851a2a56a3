"""Says at debug level why a change became an event, or none. Who asks once pays nothing at other levels."""

from __future__ import annotations

import logging

import structlog

from kubecdc.cluster.changes import Change
from kubecdc.storage.contracts.event import Action, Event
from kubecdc.watcher.capture.entry import Entry

log = structlog.get_logger()


class Explanation:
    """The lines about the changes of one entry."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def unwanted(self, action: Action, change: Change, *, passed: bool) -> None:
        """Its object does not pass the filters, or events of that type are not sent."""
        self.left_out(action, change, "eventTypes" if passed else self._entry.filter.denial(change))

    def left_out(self, action: Action, change: Change, reason: str) -> None:
        """It is no event because of that field of the manifest."""
        facts = {"type": action, "object": f"{change.meta.namespace}/{change.meta.name}"}
        facts |= {"version": change.meta.resource_version, "reason": reason}
        log.debug("the change is not an event", code="change-filtered", watch=self._entry.key, **facts)

    def captured(self, event: Event) -> None:
        """It is an event, which is committed next."""
        facts = {"object": event.partitionkey, "event_id": event.id}
        log.debug("the change is an event", code="change-matched", watch=self._entry.key, **facts)


def of(entry: Entry) -> Explanation | None:
    """None unless lines of the debug level are written."""
    return Explanation(entry) if log.is_enabled_for(logging.DEBUG) else None
