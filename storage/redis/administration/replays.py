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
from kubecdc.storage.redis.commits.publisher import stream_name
from kubecdc.storage.redis_server.connection import BODIES_BYTES, Connection
from kubecdc.storage.redis_server.publisher import entry
from kubecdc.storage.replay import ReplayPlan, in_steps, not_retained

PAGE = 250  # events in one script
COPIES_BYTES = 1024 * 1024  # about, of the bodies that one script copies: writing them takes longer than reading
Step = Sequence[tuple[bytes, Sequence[bytes]]]  # partitionkeys, each with its events


@dataclass
class PartitionEvents:
    """The events of a replay in one partition, by partitionkey in order. The copies go to ``stream``.

    ``last`` is the newest event of that stream that was scanned, ``sizes`` are the bytes of all bodies of a
    partitionkey. Events are named ``<stream>/<id>``.
    """

    stream: str
    last: bytes
    objects: dict[bytes, list[bytes]] = field(default_factory=dict)
    sizes: Counter[bytes] = field(default_factory=Counter)

    def add(self, event: Retained) -> None:
        """Copy it too."""
        self.objects.setdefault(event.key, []).append(event.name)
        self.sizes[event.key] += event.size

    def steps(self) -> Iterator[Step]:
        """Whole objects, together about a page of events or as many bytes as a script may copy at a time."""
        objects = ((key, events, self.sizes[key]) for key, events in self.objects.items())
        return in_steps(objects, events=PAGE, size=COPIES_BYTES)


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

    name: bytes
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
    number = (await connection.keyed("HGET", "entries", wanted)).decode()
    scanned, kept = [], []
    for partition in range(partitions):
        _, older = await _scan(connection, stream_name("0", partition), wanted)  # of a bus that had format 1
        stream = stream_name(number, partition)
        last, newer = await _scan(connection, stream, wanted)
        scanned.append(PartitionEvents(stream, last))
        kept.append(older + newer)
    forgotten = int(
        await connection.keyed("HGET", "meta", "forgotten") or 0
    )  # read last, to count what was deleted meanwhile
    whole = [[event for event in retained if event.committed > forgotten] for retained in kept]
    seqs = [event.seq for retained in whole for event in retained if event.id == replay.first]
    first = min(seqs, default=None) if replay.first else 0
    if first is None:
        raise not_retained(replay.first, source, subject)
    since = int((replay.since or 0.0) * 1000)  # milliseconds, like the times of the entries
    for events, retained in zip(scanned, whole, strict=True):
        for event in retained:
            if event.seq < first or event.committed < since:
                continue
            if replay.object is None or replay.object.matches(event.key.decode()):
                events.add(event)
    return RedisReplayPlan(replay.subscription, int(id_), int(known[2]), forgotten / 1000, wanted, scanned)


async def copy(connection: Connection, plan: RedisReplayPlan, partition: PartitionEvents) -> int:
    """Copy the events of a partition, and what was committed of their objects since the plan was made.

    Returns how many. Raises NoSubscription if the subscription was ended.
    """
    newer: dict[bytes, list[bytes]] = {key: [] for key in partition.objects}
    copied = 0
    for step in partition.steps():
        done = -1
        while done < 0:
            # What came meanwhile, the copies of the step before included, is looked through here, in pages. A script
            # that looked through all of it for each step would take longer each time.
            stream, last = partition.stream, partition.last
            partition.last, retained = await _scan(connection, stream, plan.entry, after=last)
            for event in retained:
                if event.key in newer:
                    newer[event.key].append(event.name)
            events = [name for key, of in step for name in (*of, *newer[key])]
            args = (plan.subscription, stream, partition.last, plan.entry, PAGE, BODIES_BYTES, len(events))
            answer = await connection.run("administration/copy", *args, *events, *(key for key, _ in step))
            if answer is None:
                raise NoSubscription.ended(plan.name)
            done = int(answer)
        copied += done
    return copied


async def _scan(
    connection: Connection, stream: str, wanted: str, *, after: bytes = b"0-0"
) -> tuple[bytes, list[Retained]]:
    """The last event of a stream, and what it retains of an entry, in the order of the stream."""
    last, retained = after, []
    while True:
        start = b"(" + last
        reached, more, events = await connection.run("administration/scan", stream, start, PAGE, BODIES_BYTES, wanted)
        last = reached or last
        retained += [
            Retained(b"%s/%s" % (stream.encode(), eid), int(seq), key, id_.decode(), int(committed), int(size))
            for eid, seq, key, id_, committed, size in events
        ]
        if not more:
            return last, retained
