"""Retained events owed to a subscription again: copies at the end of their streams, dropped once they are settled.

Retention takes what is settled, by age, so it leaves holes where somebody is still owed an older event. From before the
last it took nothing is replayed: an object's newest event might be missing, and an older one would come last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import Replay
from kubecdc.storage.contracts.errors import NoSubscription
from kubecdc.storage.redis.commits.publisher import entry
from kubecdc.storage.redis.server.connection import BODIES_BYTES, Connection

PAGE = 500  # events a script
Step = Sequence[tuple[bytes, Sequence[bytes]]]  # partitionkeys, each with its events


@dataclass(frozen=True)
class Part:
    """The events of a replay in one stream, by partitionkey in order; ``last`` is the newest that was looked at.

    ``sizes`` are of all bodies of a partitionkey.
    """

    number: int
    last: bytes
    objects: dict[bytes, list[bytes]] = field(default_factory=dict)
    sizes: Counter[bytes] = field(default_factory=Counter)

    def steps(self) -> Iterator[Step]:
        """Whole objects, together about a page of events or as much as a script may copy at a time."""
        step: list[tuple[bytes, Sequence[bytes]]] = []
        count = size = 0
        for key, events in self.objects.items():
            step.append((key, events))
            count, size = count + len(events), size + self.sizes[key]
            if count >= PAGE or size >= BODIES_BYTES:
                yield step
                step, count, size = [], 0, 0
        if step:
            yield step


@dataclass(frozen=True)
class Found:
    """What a replay would do."""

    name: str
    subscription: int
    pending: int
    entry: str
    parts: Sequence[Part]
    forgotten: float

    @property
    def events(self) -> int:
        """How many."""
        return sum(len(events) for part in self.parts for events in part.objects.values())

    def require_room(self, max_pending: int) -> None:
        """Raise Unavailable if the subscription would be full of them: that would block the watcher."""
        if self.events and self.pending + self.events > max_pending:
            raise Unavailable(
                f"{self.events} events again would bring subscription {self.name!r}, which has {self.pending} pending, "
                f"above maxPending {max_pending}",
                hint="replay less at a time, wait for its workers, or raise maxPending",
            )


@dataclass(frozen=True)
class Retained:
    """A retained event."""

    part: int
    eid: bytes
    seq: int
    key: bytes
    id: str
    committed: int
    size: int


async def find(connection: Connection, replay: Replay, partitions: int) -> Found:
    """Raises NoSubscription, UsageError."""
    id_ = await connection.keyed("HGET", "subscriptions", replay.subscription)
    known = id_ and await connection.keyed("HMGET", f"subscription:{int(id_)}", "source", "subject", "pending")
    if not known or known[0] is None:
        raise NoSubscription(
            f"subscription {replay.subscription!r} is not registered in the bus", hint="start a worker that has it"
        )
    wanted = entry(known[0].decode(), known[1].decode())
    parts, kept = [], []
    for number in range(partitions):
        last, retained = await _scan(connection, number, wanted)
        parts.append(Part(number, last))
        kept += retained
    forgotten = int(await connection.keyed("HGET", "meta", "forgotten") or 0)  # read last: what went meanwhile counts
    kept = [event for event in kept if event.committed > forgotten]
    first = min((event.seq for event in kept if event.id == replay.first), default=None) if replay.first else 0
    if first is None:
        raise UsageError(
            f"event {replay.first!r} of {'/'.join(wanted.split(chr(10)))} is not retained",
            hint="it was never here, or is older than the EventBus's `retention`",
        )
    since = int((replay.since or 0.0) * 1000)  # as coarse as the times of the entries
    for event in kept:
        if event.seq < first or event.committed < since:
            continue
        if replay.object is None or replay.object.matches(event.key.decode()):
            parts[event.part].objects.setdefault(event.key, []).append(event.eid)
            parts[event.part].sizes[event.key] += event.size
    return Found(replay.subscription, int(id_), int(known[2]), wanted, parts, forgotten / 1000)


async def owe(connection: Connection, found: Found, part: Part, step: Step) -> int:
    """Owe these objects' events again, with what was committed since they were found. Returns how many."""
    events = [event for _, of in step for event in of]
    keys = [key for key, _ in step]
    args = (found.subscription, part.number, part.last, found.entry, len(events))
    copied = await connection.run("administration/copy", *args, *events, *keys)
    if copied is None:
        raise NoSubscription(f"subscription {found.name!r} was ended meanwhile")
    return int(copied)


async def _scan(connection: Connection, part: int, wanted: str) -> tuple[bytes, list[Retained]]:
    """What is retained of an entry in one stream, and the last event there."""
    start, last, retained = b"-", b"0-0", []
    while True:
        reached, more, events = await connection.run("administration/scan", part, start, PAGE, BODIES_BYTES, wanted)
        last = reached or last
        retained += [
            Retained(part, eid, int(seq), key, id_.decode(), int(committed), int(size))
            for eid, seq, key, id_, committed, size in events
        ]
        if not more:
            return last, retained
        start = b"(" + reached
