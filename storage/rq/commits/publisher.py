"""Publishes events as jobs."""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.redis_server.publisher import ScriptPublisher, entry
from kubecdc.storage.redis_server.registrations import Registrations
from kubecdc.storage.rq import jobs


class RqPublisher(ScriptPublisher):
    """`storage.contracts.TransactionalPublisher`. ``lanes`` is the prefix of the names of this bus's rate limits."""

    def __init__(self, connection: Connection, registrations: Registrations, *, lanes: str, max_pending: int) -> None:
        super().__init__(connection, registrations, max_pending=max_pending)
        self._lanes = lanes

    def lay_out(self, events: Sequence[Event]) -> list[Argument]:
        """The limit, the time, the lanes; the entries, the fields that all jobs have, the events."""
        laid_out: list[Argument] = []
        entries: dict[str, None] = {}
        for event in events:
            wanted = entry(event.source, event.subject)
            entries[wanted] = None
            laid_out += [wanted, *jobs.lay_out(event)]
        common = jobs.common_fields()
        head: list[Argument] = [self._max_pending, jobs.time_text(), self._lanes]
        return [*head, len(entries), len(events), len(common), *entries, *common, *laid_out]
