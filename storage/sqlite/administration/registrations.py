"""The subscriptions of a bus: registering, status, pruning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import apsw

from kubecdc.storage.contracts import SubscriptionSpec, SubscriptionStatus, Worker
from kubecdc.storage.sqlite.file.connection import row, rows

# A subscription whose latest spec no living process has. What it is owed since stays what it was, if nobody has any.
ABANDONED = (
    "ended = 0 AND NOT EXISTS (SELECT 1 FROM registrants AS r WHERE r.subscription = subscriptions.id"
    " AND r.source = subscriptions.source AND r.subject = subscriptions.subject)"
)
LATELY = 30.0  # seconds since the last heartbeat of a worker that is still listed


def register(db: apsw.Connection, specs: Iterable[SubscriptionSpec], holder: str, now: float) -> None:
    """Add new subscriptions. A known name takes the new source and subject, and its backlog stays."""
    for spec in specs:
        db.execute(
            "INSERT INTO subscriptions (name, source, subject, registered) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) WHERE ended = 0 DO UPDATE SET source = excluded.source, subject = excluded.subject"
            " WHERE source != excluded.source OR subject != excluded.subject",
            (spec.name, spec.source, spec.subject, now),
        )
        _note(db, spec, holder, now)


def keep(
    db: apsw.Connection, specs: Iterable[SubscriptionSpec], holder: str, *, now: float, alive_since: float
) -> None:
    """The process still has them. Processes that have not told since that time are not alive."""
    for spec in specs:
        _note(db, spec, holder, now)
        db.execute(
            "DELETE FROM registrants WHERE seen < ? AND subscription ="
            " (SELECT id FROM subscriptions WHERE name = ? AND ended = 0)",
            (alive_since, spec.name),
        )
        db.execute(
            f"UPDATE subscriptions SET source = ?, subject = ? WHERE name = ? AND {ABANDONED}",
            (spec.source, spec.subject, spec.name),
        )


def leave(db: apsw.Connection, specs: Iterable[SubscriptionSpec], holder: str) -> None:
    """The process has them no more. If nobody has the latest spec then, another one that is kept takes its place."""
    for spec in specs:
        db.execute(
            "DELETE FROM registrants WHERE holder = ? AND subscription ="
            " (SELECT id FROM subscriptions WHERE name = ? AND ended = 0)",
            (holder, spec.name),
        )
        kept = row(
            db,
            "SELECT r.source, r.subject FROM registrants AS r JOIN subscriptions AS s ON s.id = r.subscription"
            " WHERE s.name = ? AND s.ended = 0 ORDER BY r.seen DESC",
            (spec.name,),
        )
        if kept:
            db.execute(
                f"UPDATE subscriptions SET source = ?, subject = ? WHERE name = ? AND {ABANDONED}", (*kept, spec.name)
            )


def _note(db: apsw.Connection, spec: SubscriptionSpec, holder: str, now: float) -> None:
    db.execute(
        "INSERT OR REPLACE INTO registrants (subscription, holder, source, subject, seen)"
        " SELECT id, ?, ?, ?, ? FROM subscriptions WHERE name = ? AND ended = 0",
        (holder, spec.source, spec.subject, now, spec.name),
    )


def registered(db: apsw.Connection, name: str) -> tuple[SubscriptionSpec, ...]:
    """The specs that a subscription is owed events by, the latest first; () if it is not registered."""
    found = rows(
        db,
        "SELECT source, subject FROM subscriptions WHERE name = ?1 AND ended = 0 UNION ALL"
        " SELECT r.source, r.subject FROM registrants AS r JOIN subscriptions AS s ON s.id = r.subscription"
        " WHERE s.name = ?1 AND s.ended = 0",
        (name,),
    )
    return tuple(SubscriptionSpec(name, *entry) for entry in dict.fromkeys(found))


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
    found = bool(db.changes())
    db.execute("DELETE FROM registrants WHERE subscription IN (SELECT id FROM subscriptions WHERE ended = 1)")
    return found


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
