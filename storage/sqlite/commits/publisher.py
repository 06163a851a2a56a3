"""Publishes events: each commit is one transaction, with the checkpoint step that belongs to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

import apsw

from kubecdc.storage.contracts import Batch, PreparedBatch, Publication, Term
from kubecdc.storage.contracts.errors import BusFull, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqlite.clock import BusClock
from kubecdc.storage.sqlite.commits import checkpoints
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.notifier import Notifier
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.sqlite.file.writer import Writer


@dataclass(frozen=True)
class Encoded:
    """An event that is ready to be stored, so that the writer thread has less to do."""

    source: str
    subject: str
    partitionkey: str
    lane: int
    body: bytes


class SqlitePublisher:
    """`storage.contracts.TransactionalPublisher`."""

    under_way = 1

    def __init__(self, writer: Writer, notifier: Notifier, times: BusClock, *, max_pending: int) -> None:
        self._writer = writer
        self._notifier = notifier
        self._max_pending = max_pending
        self._times = times

    async def publish(self, publication: Publication) -> None:
        encoded = _encode(publication.events)
        await self._times.follow(self._writer)
        owed = await self._writer.submit(
            lambda db: insert(db, encoded, now=self._times.now(), max_pending=self._max_pending)
        )
        self._notifier.notify(owed)

    def fit(self, event: Event) -> Event:
        return event

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return PreparedBatch(batch.key, batch.events, batch.delta, _encode(batch.events))

    async def commit(self, batch: Batch, *, term: Term) -> None:
        encoded = batch.form if isinstance(batch, PreparedBatch) else _encode(batch.events)
        await self._times.follow(self._writer)

        def operation(db: apsw.Connection) -> Set[str]:
            if not checkpoints.advance(db, batch.key, batch.delta, term):
                return set()
            return insert(db, encoded, now=self._times.now(), max_pending=self._max_pending)

        self._notifier.notify(await self._writer.submit(operation))


def insert(db: apsw.Connection, events: Sequence[Encoded], *, now: float, max_pending: int) -> Set[str]:
    """Store the events, with a delivery for each subscription that wants them. Returns the names of these.

    Raises NoSubscription, BusFull.
    """
    db.execute("UPDATE meta SET latest = max(latest, ?)", (now,))
    committed = row(db, "SELECT latest FROM meta")[0]  # in the order of commits, whatever becomes of the clock
    wanted = Counter((event.source, event.subject) for event in events)
    owed = {kind: _subscribers(db, *kind, count, max_pending) for kind, count in wanted.items()}
    for event in events:
        subscribers = owed[event.source, event.subject]
        db.execute(
            "INSERT INTO events (source, subject, partitionkey, committed, bytes, owed) VALUES (?, ?, ?, ?, ?, ?)",
            (event.source, event.subject, event.partitionkey, committed, len(event.body), len(subscribers)),
        )
        seq = db.last_insert_rowid()
        db.execute("INSERT INTO bodies (seq, body) VALUES (?, ?)", (seq, event.body))
        for id_ in subscribers:
            lanes.append(db, id_, seq, event.lane, now)
    return {name for subscribers in owed.values() for name in subscribers.values()}


def _subscribers(db: apsw.Connection, source: str, subject: str, count: int, max_pending: int) -> dict[int, str]:
    """Count the events as pending in the subscriptions that want them, and return the names of those by id. A batch may
    exceed the limit, but only if they were below it before."""
    found = rows(
        db,
        "SELECT id, name, pending FROM subscriptions WHERE ended = 0 AND (source = ?1 AND subject = ?2"
        " OR id IN (SELECT subscription FROM registrants WHERE source = ?1 AND subject = ?2)) ORDER BY name",
        (source, subject),
    )
    if not found:
        raise NoSubscription.to_event(source, subject)
    for _, name, pending in found:
        if pending >= max_pending:
            raise BusFull(name, pending, max_pending)
    for id_, _, _ in found:
        db.execute("UPDATE subscriptions SET pending = pending + ? WHERE id = ?", (count, id_))
    return {id_: name for id_, name, _ in found}


def _encode(events: Sequence[Event]) -> list[Encoded]:
    return [
        Encoded(event.source, event.subject, event.partitionkey, lanes.lane(event.partitionkey), event.encode())
        for event in events
    ]
