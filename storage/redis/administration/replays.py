"""Replays: copies of retained events at the end of their streams, which are deleted once they are settled.

Retention deletes settled events by age, which leaves holes where a subscription still has an older one to settle.
Events before the newest one that it deleted are not replayed: an object's newest event might be missing, and an older
one would be delivered last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kubecdc.storage.contracts import Replay
from kubecdc.storage.contracts.errors import NoSubscription
from kubecdc.storage.redis_server.connection import BODIES_BYTES, Connection
from kubecdc.storage.redis_server.publisher import entry
from kubecdc.storage.replay import ReplayPlan, in_steps, not_retained

PAGE = 500  # events in one script
Step = Sequence[tuple[bytes, Sequence[bytes]]]  # partitionkeys, each with its events


@dataclass(frozen=True)
class PartitionEvents:
    """The events of a replay in one stream, by partitionkey in order. ``last`` is the newest event that was scanned.

    ``sizes`` are the bytes of all bodies of a partitionkey.
    """

    number: int
    last: bytes
    objects: dict[bytes, list[bytes]] = field(default_factory=dict)
    sizes: Counter[bytes] = field(default_factory=Counter)

    def steps(self) -> Iterator[Step]:
        """Whole objects, together about a page of events or as many bytes as a script may copy at a time."""
        objects = ((key, events, self.sizes[key]) for key, events in self.objects.items())
        return in_steps(objects, events=PAGE, size=BODIES_BYTES)


@dataclass(frozen=True)
class RedisReplayPlan(ReplayPlan):
    """The events of a replay, by partition. ``entry`` is what the subscription subscribes to."""

    entry: str
    partitions: Sequence[PartitionEvents]

    @property
    def events(self) -> int:
        return sum(len(events) for partition in self.partitions for events in partition.objects.values())


@dataclass(frozen=True)
class Retained:
    """A retained event."""

    partition: int
    eid: bytes
    seq: int
    key: bytes
    id: str
    committed: int
    size: int


async def find(connection: Connection, replay: Replay, partitions: int) -> RedisReplayPlan:
    """Plan a replay. Raises NoSubscription, UsageError if its first event is not retained."""
    id_ = await connection.keyed("HGET", "subscriptions", replay.subscription)
    known = id_ and await connection.keyed("HMGET", f"subscription:{int(id_)}", "source", "subject", "pending")
    if not known or known[0] is None:
        raise NoSubscription.of(replay.subscription)
    source, subject = known[0].decode(), known[1].decode()
    wanted = entry(source, subject)
    scanned, kept = [], []
    for number in range(partitions):
        last, retained = await _scan(connection, number, wanted)
        scanned.append(PartitionEvents(number, last))
        kept += retained
    forgotten = int(
        await connection.keyed("HGET", "meta", "forgotten") or 0
    )  # read last, to count what was deleted meanwhile
    kept = [event for event in kept if event.committed > forgotten]
    first = min((event.seq for event in kept if event.id == replay.first), default=None) if replay.first else 0
    if first is None:
        raise not_retained(replay.first, source, subject)
    since = int((replay.since or 0.0) * 1000)  # milliseconds, like the times of the entries
    for event in kept:
        if event.seq < first or event.committed < since:
            continue
        if replay.object is None or replay.object.matches(event.key.decode()):
            scanned[event.partition].objects.setdefault(event.key, []).append(event.eid)
            scanned[event.partition].sizes[event.key] += event.size
    return RedisReplayPlan(replay.subscription, int(id_), int(known[2]), forgotten / 1000, wanted, scanned)


async def copy(connection: Connection, plan: RedisReplayPlan, partition: PartitionEvents, step: Step) -> int:
    """Copy the events of these objects, and what was committed since the plan was made. Returns how many.

    Raises NoSubscription if the subscription was ended.
    """
    events = [event for _, of in step for event in of]
    keys = [key for key, _ in step]
    args = (plan.subscription, partition.number, partition.last, plan.entry, len(events))
    copied = await connection.run("administration/copy", *args, *events, *keys)
    if copied is None:
        raise NoSubscription.ended(plan.name)
    return int(copied)


async def _scan(connection: Connection, partition: int, wanted: str) -> tuple[bytes, list[Retained]]:
    """The last event of a stream, and what it retains of an entry."""
    start, last, retained = b"-", b"0-0", []
    while True:
        reached, more, events = await connection.run(
            "administration/scan", partition, start, PAGE, BODIES_BYTES, wanted
        )
        last = reached or last
        retained += [
            Retained(partition, eid, int(seq), key, id_.decode(), int(committed), int(size))
            for eid, seq, key, id_, committed, size in events
        ]
        if not more:
            return last, retained
        start = b"(" + reached
