"""Events into the bus: each commit is one transaction with the checkpoint step that goes with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import apsw

from kubecdc.storage.contracts import Batch, Term
from kubecdc.storage.contracts.errors import BusFull, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.prepared import Prepared
from kubecdc.storage.sqlite.commits import checkpoints
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.notifier import Bell
from kubecdc.storage.sqlite.file.connection import rows
from kubecdc.storage.sqlite.file.writer import Writer


@dataclass(frozen=True)
class Encoded:
    """An event ready to be stored, so that the thread has less to do."""

    source: str
    subject: str
    partitionkey: str
    lane: int
    body: bytes


class SqlitePublisher:
    """`storage.contracts.TransactionalPublisher`."""

    under_way = 1

    def __init__(self, writer: Writer, bell: Bell, *, max_pending: int, clock: Callable[[], float]) -> None:
        self._writer = writer
        self._bell = bell
        self._max_pending = max_pending
        self._clock = clock

    async def publish(self, events: Sequence[Event]) -> None:
        encoded = _encode(events)
        await self._writer.submit(lambda db: insert(db, encoded, now=self._clock(), max_pending=self._max_pending))
        self._bell.ring()

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return replace(batch, events=Prepared(batch.events, _encode(batch.events)))

    async def commit(self, batch: Batch, *, term: Term) -> None:
        encoded = batch.events.form if isinstance(batch.events, Prepared) else _encode(batch.events)

        def operation(db: apsw.Connection) -> None:
            if checkpoints.advance(db, batch.key, batch.delta, term):
                insert(db, encoded, now=self._clock(), max_pending=self._max_pending)

        await self._writer.submit(operation)
        if encoded:
            self._bell.ring()


def insert(db: apsw.Connection, events: Sequence[Encoded], *, now: float, max_pending: int) -> None:
    """Store the events and owe each to the subscriptions that want it. Raises NoSubscription, BusFull."""
    wanted = Counter((event.source, event.subject) for event in events)
    owed = {kind: _subscribers(db, *kind, count, max_pending) for kind, count in wanted.items()}
    for event in events:
        ids = owed[event.source, event.subject]
        db.execute(
            "INSERT INTO events (source, subject, partitionkey, committed, bytes, owed) VALUES (?, ?, ?, ?, ?, ?)",
            (event.source, event.subject, event.partitionkey, now, len(event.body), len(ids)),
        )
        seq = db.last_insert_rowid()
        db.execute("INSERT INTO bodies (seq, body) VALUES (?, ?)", (seq, event.body))
        for id_ in ids:
            lanes.append(db, id_, seq, event.lane, now)


def _subscribers(db: apsw.Connection, source: str, subject: str, count: int, max_pending: int) -> list[int]:
    """The subscriptions to be owed ``count`` more events; they may end up above the limit, but not start there."""
    found = rows(
        db,
        "SELECT id, name, pending FROM subscriptions WHERE source = ? AND subject = ? AND ended = 0 ORDER BY name",
        (source, subject),
    )
    if not found:
        raise NoSubscription(
            f"nobody subscribes to event {subject!r} of event source {source!r}",
            hint="start `kubecdc work` with a Sensor for it, or name it in the EventBus's `subscriptions`",
        )
    for _, name, pending in found:
        if pending >= max_pending:
            raise BusFull(name, pending, max_pending)
    for id_, _, _ in found:
        db.execute("UPDATE subscriptions SET pending = pending + ? WHERE id = ?", (count, id_))
    return [id_ for id_, _, _ in found]


def _encode(events: Sequence[Event]) -> list[Encoded]:
    return [
        Encoded(event.source, event.subject, event.partitionkey, lanes.lane(event.partitionkey), event.encode())
        for event in events
    ]
