"""Retained events owed to a subscription again: copies at the end of their lanes, dropped once they are settled.

Retention takes what is settled, by age, so it leaves holes where somebody is still owed an older event. From before the
last it took nothing is replayed: an object's newest event might be missing, and an older one would come last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apsw
import msgspec

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import Replay
from kubecdc.storage.contracts.errors import NoSubscription, Undecodable
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.file.connection import row, rows

Step = Sequence[tuple[str, Sequence[int]]]  # partitionkeys, each with its events
MINE = "source = ? AND subject = ? AND again = 0 AND committed > (SELECT forgotten FROM meta)"


@dataclass(frozen=True)
class Found:
    """The events of a replay, by partitionkey in order of commit; ``last`` is the newest event that was looked at."""

    name: str
    subscription: int
    pending: int
    source: str
    subject: str
    objects: dict[str, list[int]]
    last: int
    forgotten: float

    @property
    def events(self) -> int:
        """How many."""
        return sum(map(len, self.objects.values()))

    def require_room(self, max_pending: int) -> None:
        """Raise Unavailable if the subscription would be full of them: that would block the watcher."""
        if self.events and self.pending + self.events > max_pending:
            raise Unavailable(
                f"{self.events} events again would bring subscription {self.name!r}, which has {self.pending} pending, "
                f"above maxPending {max_pending}",
                hint="replay less at a time, wait for its workers, or raise maxPending",
            )

    def steps(self, size: int) -> Iterator[Step]:
        """Whole objects, together about so many events."""
        step: list[tuple[str, Sequence[int]]] = []
        count = 0
        for key, seqs in self.objects.items():
            step.append((key, seqs))
            count += len(seqs)
            if count >= size:
                yield step
                step, count = [], 0
        if step:
            yield step


def find(db: apsw.Connection, replay: Replay) -> Found:
    """Raises NoSubscription, UsageError."""
    subscription = row(
        db,
        "SELECT id, pending, source, subject FROM subscriptions WHERE name = ? AND ended = 0",
        (replay.subscription,),
    )
    if not subscription:
        raise NoSubscription(
            f"subscription {replay.subscription!r} is not registered in the bus", hint="start a worker that has it"
        )
    id_, pending, source, subject = subscription
    first = _seq_of(db, replay.first, source, subject) if replay.first else 0
    since = replay.since if replay.since is not None else 0.0
    objects: dict[str, list[int]] = {}
    sql = f"SELECT seq, partitionkey FROM events WHERE {MINE} AND seq >= ? AND committed >= ? ORDER BY seq"
    for seq, key in db.execute(sql, (source, subject, first, since)):
        if replay.object is None or key in objects or replay.object.matches(key):
            objects.setdefault(key, []).append(seq)
    last, forgotten = row(db, "SELECT (SELECT coalesce(max(seq), 0) FROM events), forgotten FROM meta")
    return Found(replay.subscription, id_, pending, source, subject, objects, last, forgotten)


def owe(db: apsw.Connection, *, found: Found, step: Step, now: float) -> int:
    """Owe these objects' events again, with what was committed since they were found. Returns how many."""
    if not row(db, "SELECT 1 FROM subscriptions WHERE id = ? AND ended = 0", (found.subscription,)):
        raise NoSubscription(f"subscription {found.name!r} was ended meanwhile")
    newer: dict[str, list[int]] = {key: [] for key, _ in step}
    sql = f"SELECT seq, partitionkey FROM events WHERE {MINE} AND seq > ? ORDER BY seq"
    for seq, key in rows(db, sql, (found.source, found.subject, found.last)):
        if key in newer:
            newer[key].append(seq)
    copied = 0
    for key, seqs in step:
        lane = lanes.lane(key)
        for seq in (*seqs, *newer[key]):
            copy = _copy(db, seq)
            if copy:
                lanes.append(db, found.subscription, copy, lane, now)
                copied += 1
    db.execute("UPDATE subscriptions SET pending = pending + ? WHERE id = ?", (copied, found.subscription))
    return copied


def _copy(db: apsw.Connection, seq: int) -> int:
    """The copy of an event, 0 if retention has taken it meanwhile."""
    db.execute(
        "INSERT INTO events (source, subject, partitionkey, committed, bytes, owed, again)"
        " SELECT source, subject, partitionkey, committed, bytes, 1, 1 FROM events"
        " WHERE seq = ? AND committed > (SELECT forgotten FROM meta)",
        (seq,),
    )
    if not db.changes():
        return 0
    copy = db.last_insert_rowid()
    db.execute("INSERT INTO bodies (seq, body) SELECT ?, body FROM bodies WHERE seq = ?", (copy, seq))
    return copy


def _seq_of(db: apsw.Connection, event: str, source: str, subject: str) -> int:
    """Where an event is. The id stands in its body, as `Event.encode` writes it. Raises UsageError."""
    written = b'"id":' + msgspec.json.encode(event)
    sql = f"SELECT seq, body FROM events JOIN bodies USING (seq) WHERE {MINE} AND instr(body, ?) ORDER BY seq"
    for seq, body in db.execute(sql, (source, subject, written)):
        try:
            if Event.decode(body).id == event:
                return int(seq)
        except Undecodable:
            continue
    raise UsageError(
        f"event {event!r} of {source}/{subject} is not retained",
        hint="it was never here, or is older than the EventBus's `retention`",
    )
