"""Replays: copies of retained events at the end of their lanes, which are deleted once they are settled.

Retention deletes settled events by age, which leaves holes where a subscription still has an older one to settle.
Events before the newest one that it deleted are not replayed: an object's newest event might be missing, and an older
one would be delivered last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import apsw
import msgspec

from kubecdc.storage.contracts import Replay
from kubecdc.storage.contracts.errors import NoSubscription, Undecodable
from kubecdc.storage.contracts.event import Event, redelivered
from kubecdc.storage.replay import ReplayPlan, in_steps, not_retained
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.file.connection import row, rows

Step = Sequence[tuple[str, Sequence[int]]]  # partitionkeys, each with its events
MINE = "source = ? AND subject = ? AND again = 0 AND committed > (SELECT forgotten FROM meta)"


@dataclass
class Newer:
    """The events that were committed since a replay was planned, by partitionkey, up to the event ``last``."""

    last: int
    objects: dict[str, list[int]] = field(default_factory=dict)

    def add(self, more: Newer) -> None:
        """Take what a step has found, so that the next one need not look for it again."""
        self.last = max(self.last, more.last)
        for key, seqs in more.objects.items():
            self.objects.setdefault(key, []).extend(seqs)


@dataclass(frozen=True)
class SqliteReplayPlan(ReplayPlan):
    """The events of a replay, by partitionkey in order of commit, and what came since, as far as it is known."""

    source: str
    subject: str
    objects: dict[str, list[int]]
    newer: Newer

    @property
    def events(self) -> int:
        return sum(map(len, self.objects.values()))

    def steps(self, size: int) -> Iterator[Step]:
        """Whole objects, together about so many events."""
        return in_steps(((key, seqs, 0) for key, seqs in self.objects.items()), events=size)


def find(db: apsw.Connection, replay: Replay) -> SqliteReplayPlan:
    """Plan a replay. Raises NoSubscription, UsageError if its first event is not retained."""
    subscription = row(
        db,
        "SELECT id, pending, source, subject FROM subscriptions WHERE name = ? AND ended = 0",
        (replay.subscription,),
    )
    if not subscription:
        raise NoSubscription.of(replay.subscription)
    id_, pending, source, subject = subscription
    first = _seq_of(db, replay.first, source, subject) if replay.first else 0
    since = replay.since if replay.since is not None else 0.0
    objects: dict[str, list[int]] = {}
    sql = f"SELECT seq, partitionkey FROM events WHERE {MINE} AND seq >= ? AND committed >= ? ORDER BY seq"
    for seq, key in db.execute(sql, (source, subject, first, since)):
        if replay.object is None or key in objects or replay.object.matches(key):
            objects.setdefault(key, []).append(seq)
    last, forgotten = row(db, "SELECT (SELECT coalesce(max(seq), 0) FROM events), forgotten FROM meta")
    return SqliteReplayPlan(replay.subscription, id_, pending, forgotten, source, subject, objects, Newer(last))


def copy(db: apsw.Connection, *, plan: SqliteReplayPlan, step: Step, now: float) -> tuple[int, Newer]:
    """Copy the events of these objects, and what was committed since the plan was made.

    Returns how many, and what came since the step before, for `Newer.add`: a transaction may run twice. Raises
    NoSubscription if the subscription was ended.
    """
    if not row(db, "SELECT 1 FROM subscriptions WHERE id = ? AND ended = 0", (plan.subscription,)):
        raise NoSubscription.ended(plan.name)
    since = Newer(row(db, "SELECT coalesce(max(seq), 0) FROM events")[0])
    sql = f"SELECT seq, partitionkey FROM events WHERE {MINE} AND seq > ? ORDER BY seq"
    for seq, key in rows(db, sql, (plan.source, plan.subject, plan.newer.last)):
        if key in plan.objects:
            since.objects.setdefault(key, []).append(seq)
    copied = 0
    for key, seqs in step:
        lane = lanes.lane(key)
        for seq in (*seqs, *plan.newer.objects.get(key, ()), *since.objects.get(key, ())):
            if new := _copy(db, seq):
                lanes.append(db, plan.subscription, new, lane, now)
                copied += 1
    db.execute("UPDATE subscriptions SET pending = pending + ? WHERE id = ?", (copied, plan.subscription))
    return copied, since


def _copy(db: apsw.Connection, seq: int) -> int:
    """Copy an event. Returns its seq, 0 if retention has deleted the event meanwhile."""
    db.execute(
        "INSERT INTO events (source, subject, partitionkey, committed, bytes, owed, again)"
        " SELECT source, subject, partitionkey, committed, bytes, 1, 1 FROM events"
        " WHERE seq = ? AND committed > (SELECT forgotten FROM meta)",
        (seq,),
    )
    if not db.changes():
        return 0
    copy = db.last_insert_rowid()
    body = redelivered(row(db, "SELECT body FROM bodies WHERE seq = ?", (seq,))[0], "replay")
    db.execute("INSERT INTO bodies (seq, body) VALUES (?, ?)", (copy, body))
    return copy


def _seq_of(db: apsw.Connection, event: str, source: str, subject: str) -> int:
    """The seq of an event.

    Its id is in the body, as `Event.encode` writes it. Raises UsageError if it is not retained.
    """
    written = b'"id":' + msgspec.json.encode(event)
    sql = f"SELECT seq, body FROM events JOIN bodies USING (seq) WHERE {MINE} AND instr(body, ?) ORDER BY seq"
    for seq, body in db.execute(sql, (source, subject, written)):
        try:
            if Event.decode(body).id == event:
                return int(seq)
        except Undecodable:
            continue
    raise not_retained(event, source, subject)
