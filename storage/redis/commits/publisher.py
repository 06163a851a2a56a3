"""Publishes events into the streams of their partitions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.redis_server.publisher import ScriptPublisher, entry
from kubecdc.storage.redis_server.registrations import Registrations


class RedisPublisher(ScriptPublisher):
    """`storage.contracts.TransactionalPublisher`."""

    def __init__(
        self, connection: Connection, registrations: Registrations, *, partitions: int, max_pending: int
    ) -> None:
        super().__init__(connection, registrations, max_pending=max_pending)
        self._partitions = partitions

    def lay_out(self, events: Sequence[Event]) -> list[Argument]:
        """The limit, the number of entries and events, each entry with its count, the events."""
        counts: dict[str, int] = {}
        arguments: list[Argument] = []
        for event in events:
            name, key = entry(event.source, event.subject), event.partitionkey
            counts[name] = counts.get(name, 0) + 1
            arguments += (partition(key, self._partitions), key, event.id, name, event.encode())
        laid_out: list[Argument] = [self._max_pending, len(counts), len(events)]
        for name, count in counts.items():
            laid_out += (name, count)
        return laid_out + arguments


def partition(partitionkey: str, partitions: int) -> int:
    """The partition of an object: the stream that has all of its events."""
    return zlib.crc32(partitionkey.encode()) % partitions


def stream_name(entry: str, partition: int) -> str:
    """The stream that has the events of an entry, given by its number, in a partition.

    Entry 0 stands for the streams of buses that were made with format 1, which have the events of all entries.
    """
    return str(partition) if entry == "0" else f"{entry}:{partition}"
