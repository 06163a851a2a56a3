"""Dead letters: copies of events in a table of their own, from which neither retention nor `prune` deletes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw

from kubecdc.storage.contracts import UNKNOWN, DeadLetter
from kubecdc.storage.contracts.administration import NO_SUCH_LETTER, subscription_ended
from kubecdc.storage.contracts.errors import BusFull, Undecodable
from kubecdc.storage.contracts.event import Event, redelivered
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.deliveries.lanes import Claim
from kubecdc.storage.sqlite.deliveries.notifier import Notifier
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.sqlite.file.reader import Reader
from kubecdc.storage.sqlite.file.writer import Writer

COLUMNS = "id, subscription, event, partitionkey, reason, attempts, first, last, superseded"
HIGHEST = (1 << 63) - 1


class SqliteDeadLetters:
    """`storage.contracts.DeadLetters`. Ids are growing numbers."""

    def __init__(
        self, writer: Writer, reader: Reader, notifier: Notifier, *, max_pending: int, clock: Callable[[], float]
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._notifier = notifier
        self._max_pending = max_pending
        self._clock = clock

    async def page(self, subscription: str | None = None, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        return await self._reader.submit(lambda db: page(db, subscription, _number(after), limit))

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        found = await self._reader.submit(
            lambda db: row(db, f"SELECT body, {COLUMNS} FROM dead_letters WHERE id = ?", (_number(id_),))
        )
        return (_letter(found[1:]), found[0]) if found else None

    async def redrive(self, ids: Sequence[str]) -> dict[str, str]:
        wanted = sorted(dict.fromkeys(ids), key=_number)
        now = self._clock()

        def operation(db: apsw.Connection) -> dict[str, str]:
            reasons = {id_: redrive(db, _number(id_), now=now, max_pending=self._max_pending) for id_ in wanted}
            return {id_: reason for id_, reason in reasons.items() if reason}

        refused = await self._writer.submit(operation)
        self._notifier.notify()
        return refused

    async def purge(self, ids: Sequence[str]) -> int:
        numbers = {_number(id_) for id_ in ids}
        return await self._writer.submit(lambda db: sum(purge(db, number) for number in numbers))


def put_aside(db: apsw.Connection, claim: Claim, reason: str, attempts: int, now: float, place: str) -> None:
    """Keep a copy and settle the delivery. Repeating it is a no-op. Raises ClaimLost.

    ``place`` is that of the event among those of its object, "" if it cannot be read.
    """
    db.execute(
        "INSERT INTO dead_letters (subscription, body, reason, attempts, first, last, place, superseded)"
        " SELECT s.name, b.body, ?, ?, e.committed, ?, ?, e.superseded FROM deliveries AS d"
        " JOIN subscriptions AS s ON s.id = d.subscription JOIN events AS e ON e.seq = d.seq"
        " JOIN bodies AS b ON b.seq = d.seq WHERE d.subscription = ? AND d.seq = ? AND d.token = ?",
        (reason, attempts, now, place, claim.subscription, claim.seq, claim.token),
    )
    lanes.settle(db, claim)


def supersede(db: apsw.Connection, subscription: str, event: Event) -> None:
    """Mark the dead letters of the object whose event is earlier than this one, which was delivered."""
    db.execute(
        "UPDATE dead_letters SET superseded = 1"
        " WHERE subscription = ? AND partitionkey = ? AND superseded = 0 AND place < ?",
        (subscription, event.partitionkey, event.passes),
    )


def page(db: apsw.Connection, subscription: str | None, after: int, limit: int) -> list[DeadLetter]:
    """Dead letters of one subscription or of all, oldest first, without bodies."""
    where = "subscription = :name AND id > :after" if subscription is not None else "id > :after"
    sql = f"SELECT {COLUMNS} FROM dead_letters WHERE {where} ORDER BY id LIMIT :limit"
    bindings = {"after": after, "limit": limit} | ({} if subscription is None else {"name": subscription})
    return [_letter(found) for found in rows(db, sql, bindings)]


def redrive(db: apsw.Connection, id_: int, *, now: float, max_pending: int) -> str:
    """Deliver a dead letter again and delete it. Returns "", or why it stays. Raises BusFull."""
    letter = row(db, "SELECT subscription, body, first, superseded FROM dead_letters WHERE id = ?", (id_,))
    if not letter:
        return NO_SUCH_LETTER
    name, body, first, superseded = letter
    subscription = row(db, "SELECT id, pending FROM subscriptions WHERE name = ? AND ended = 0", (name,))
    if not subscription:
        return subscription_ended(name)
    if subscription[1] >= max_pending:
        raise BusFull(name, subscription[1], max_pending)
    try:
        event = Event.decode(body)
    except Undecodable as e:
        return f"it cannot be read, so no trigger can run for it: {e}"
    body = redelivered(body, "redrive")
    db.execute(
        "INSERT INTO events (source, subject, partitionkey, committed, bytes, owed, again, superseded)"
        " VALUES (?, ?, ?, ?, ?, 1, 1, ?)",
        (event.source, event.subject, event.partitionkey, first, len(body), superseded),
    )
    seq = db.last_insert_rowid()
    db.execute("INSERT INTO bodies (seq, body) VALUES (?, ?)", (seq, body))
    db.execute("UPDATE subscriptions SET pending = pending + 1 WHERE id = ?", (subscription[0],))
    lanes.append(db, subscription[0], seq, lanes.lane(event.partitionkey), now)
    purge(db, id_)
    return ""


def purge(db: apsw.Connection, id_: int) -> int:
    """Delete it. Returns how many there were: 0 or 1."""
    db.execute("DELETE FROM dead_letters WHERE id = ?", (id_,))
    return db.changes()


def _letter(found: tuple[Any, ...]) -> DeadLetter:
    id_, *rest, superseded = found
    rest.append(UNKNOWN if superseded is None else bool(superseded))
    return DeadLetter(str(id_), *rest)


def _number(id_: str) -> int:
    """The row id of a dead letter; one that no row has if the text is no id."""
    return min(int(id_), HIGHEST) if id_.isascii() and id_.isdigit() else 0
