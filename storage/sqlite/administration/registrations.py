"""The subscriptions of a bus: registering, status, pruning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import apsw

from kubecdc.storage.contracts import SubscriptionSpec, SubscriptionStatus, Worker
from kubecdc.storage.sqlite.file.connection import row, rows

LATELY = 30.0  # seconds since the last heartbeat of a worker that is still listed


def register(db: apsw.Connection, specs: Iterable[SubscriptionSpec], now: float) -> None:
    """Add new subscriptions. A known name takes the new source and subject, and its backlog stays."""
    for spec in specs:
        db.execute(
            "INSERT INTO subscriptions (name, source, subject, registered) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) WHERE ended = 0 DO UPDATE SET source = excluded.source, subject = excluded.subject"
            " WHERE source != excluded.source OR subject != excluded.subject",
            (spec.name, spec.source, spec.subject, now),
        )


def registered(db: apsw.Connection, name: str) -> SubscriptionSpec | None:
    """The spec of a subscription; None if it is not registered."""
    found = row(db, "SELECT name, source, subject FROM subscriptions WHERE name = ? AND ended = 0", (name,))
    return SubscriptionSpec(*found) if found else None


def statuses(db: apsw.Connection, now: float) -> list[SubscriptionStatus]:
    """All subscriptions by name. The cost of each is a few look-ups, however long its backlog is."""
    workers: dict[str, list[Worker]] = defaultdict(list)
    seen_since = "SELECT subscription, holder, seen FROM workers WHERE seen >= ? ORDER BY subscription, holder"
    for name, holder, seen in rows(db, seen_since, (now - LATELY,)):
        workers[name].append(Worker(holder, seen))
    dead = dict(rows(db, "SELECT subscription, count(*) FROM dead_letters GROUP BY subscription"))
    found = rows(
        db,
        "SELECT name, source, subject, registered, pending, (SELECT committed FROM events WHERE seq ="
        " (SELECT min(seq) FROM deliveries WHERE subscription = s.id))"
        " FROM subscriptions AS s WHERE ended = 0 ORDER BY name",
    )
    return [
        SubscriptionStatus(
            SubscriptionSpec(name, source, subject),
            registered,
            pending,
            oldest,
            dead.get(name, 0),
            tuple(workers.get(name, ())),
        )
        for name, source, subject, registered, pending, oldest in found
    ]


def end(db: apsw.Connection, name: str) -> bool:
    """End a subscription; `drop_backlog` does the rest. False if there is none of that name."""
    db.execute("UPDATE subscriptions SET ended = 1 WHERE name = ? AND ended = 0", (name,))
    return bool(db.changes())


def drop_backlog(db: apsw.Connection, limit: int) -> bool:
    """Delete up to ``limit`` deliveries of a subscription that ended. True if there may be more."""
    found = row(db, "SELECT id FROM subscriptions WHERE ended = 1")
    if not found:
        return False
    # From the end: deleting from the front would make each next delivery of a lane the head in turn.
    seqs = rows(db, "SELECT seq FROM deliveries WHERE subscription = ? ORDER BY seq DESC LIMIT ?", (found[0], limit))
    db.executemany("DELETE FROM deliveries WHERE subscription = ? AND seq = ?", [(found[0], seq) for (seq,) in seqs])
    if len(seqs) < limit:
        db.execute("DELETE FROM subscriptions WHERE id = ?", found)
    return True
