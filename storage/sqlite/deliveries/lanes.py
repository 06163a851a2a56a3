"""Claims: which worker has which delivery, in the order of each object.

A lane is a subscription's events of one partitionkey. Its first unsettled delivery is the ``head``, and only heads can
be claimed. This keeps the order per object across all workers, and the cost of a claim independent of the length of a
lane. Settling a head deletes it; a trigger of the schema then makes the next delivery of the lane the head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import apsw

from kubecdc.storage.contracts.deliveries import Failures
from kubecdc.storage.contracts.errors import ClaimLost, NoSubscription
from kubecdc.storage.sqlite.file.connection import row, rows


@dataclass(frozen=True)
class Claim:
    """A claimed delivery.

    Settling it needs the ``token``. ``attempts`` and ``received`` count those before this one, ``failures`` were kept.
    """

    subscription: int
    seq: int
    token: str
    received: int
    attempts: int
    failures: Failures
    body: bytes


def lane(partitionkey: str) -> int:
    """The lane as a number. Keys whose numbers collide share a lane: they stay in order, with less parallelism."""
    return int.from_bytes(hashlib.blake2b(partitionkey.encode(), digest_size=8).digest(), "big", signed=True)


def append(db: apsw.Connection, subscription: int, seq: int, lane: int, due: float) -> None:
    """Append a delivery to its lane; ``seq`` must be above all others. The caller counts it as pending."""
    db.execute(
        "INSERT INTO deliveries (subscription, seq, lane, due, head) VALUES (?1, ?2, ?3, ?4,"
        " NOT EXISTS (SELECT 1 FROM deliveries WHERE subscription = ?1 AND lane = ?3))",
        (subscription, seq, lane, due),
    )


def next_due(db: apsw.Connection, name: str) -> float | None:
    """When the next delivery may be claimed, None if nothing is pending. Raises NoSubscription."""
    found = row(
        db,
        "SELECT (SELECT min(due) FROM deliveries INDEXED BY deliveries_due WHERE head = 1 AND subscription = s.id)"
        " FROM subscriptions AS s WHERE name = ? AND ended = 0",
        (name,),
    )
    if not found:
        raise NoSubscription.of(name)
    due: float | None = found[0]
    return due


NEXT_OWED = (
    "(SELECT subscription FROM deliveries INDEXED BY deliveries_due WHERE head = 1 AND subscription > {}"
    " ORDER BY subscription LIMIT 1)"
)
DUE = (
    f"WITH RECURSIVE owed(id) AS (SELECT {NEXT_OWED.format(-1)} UNION ALL"
    f" SELECT {NEXT_OWED.format('owed.id')} FROM owed WHERE owed.id IS NOT NULL)"
    " SELECT name FROM owed CROSS JOIN subscriptions AS s ON s.id = owed.id WHERE ended = 0 AND EXISTS"
    " (SELECT 1 FROM deliveries INDEXED BY deliveries_due WHERE head = 1 AND subscription = s.id AND due <= ?)"
)


def due_by(db: apsw.Connection, time: float) -> list[str]:
    """The subscriptions with a delivery that may be claimed by that time. Looks only at those that are owed any."""
    return [name for (name,) in rows(db, DUE, (time,))]


CLAIMABLE = (
    "SELECT d.subscription, d.seq, d.received, d.attempts, d.uncounted, d.successes, b.body"
    " FROM deliveries AS d INDEXED BY deliveries_due CROSS JOIN bodies AS b ON b.seq = d.seq"
    " WHERE d.head = 1 AND d.subscription = (SELECT id FROM subscriptions WHERE name = ? AND ended = 0) AND d.due <= ?"
    " ORDER BY d.due, d.seq LIMIT ?"
)


def claim(
    db: apsw.Connection, name: str, *, token: str, holder: str, now: float, until: float, limit: int, most_bytes: int
) -> list[Claim]:
    """Claim up to ``limit`` deliveries that are due, until the time ``until``: those that fit, but at least one."""
    claims: list[Claim] = []
    with closing(db.execute(CLAIMABLE, (name, now, limit))) as found:
        for subscription, seq, received, attempts, uncounted, successes, body in found:
            most_bytes -= len(body)
            if claims and most_bytes < 0:
                break
            failures = Failures(uncounted, successes)
            claims.append(Claim(subscription, seq, token, received, attempts, failures, body))
    db.executemany(
        "UPDATE deliveries SET token = ?, holder = ?, due = ?, received = received + 1"
        " WHERE subscription = ? AND seq = ?",
        [(token, holder, until, taken.subscription, taken.seq) for taken in claims],
    )
    return claims


def release(db: apsw.Connection, claims: Sequence[Claim], now: float) -> None:
    """Undo the claims, except those that another worker has by now."""
    db.executemany(
        "UPDATE deliveries SET token = NULL, holder = NULL, due = ?, received = received - 1"
        " WHERE subscription = ? AND seq = ? AND token = ?",
        [(now, claim.subscription, claim.seq, claim.token) for claim in claims],
    )


def start(db: apsw.Connection, claim: Claim) -> None:
    """Record the attempt. Repeating it counts once. Raises ClaimLost."""
    _update(db, claim, "attempts = ?", claim.attempts + 1)


def extend(db: apsw.Connection, claim: Claim, until: float) -> None:
    """Keep the claim until then. Raises ClaimLost."""
    _update(db, claim, "due = ?", until)


def nack(db: apsw.Connection, claim: Claim, due: float, attempts: int, failures: Failures) -> None:
    """Deliver it again when it is due.

    The token stays until the next claim, so this may be repeated. Raises ClaimLost.
    """
    assignments = "holder = NULL, due = ?, attempts = ?, uncounted = ?, successes = ?"
    _update(db, claim, assignments, due, attempts, failures.uncounted, failures.successes)


def ack(db: apsw.Connection, claim: Claim, *, success: bool) -> None:
    """Settle the delivery, as a ``success`` or not. Repeating it is a no-op. Raises ClaimLost."""
    if settle(db, claim) and success:
        db.execute("UPDATE subscriptions SET successes = successes + 1 WHERE id = ?", (claim.subscription,))


def successes(db: apsw.Connection, name: str) -> int:
    """How many deliveries of a subscription were acked as a success; 0 if there is none of that name."""
    found = row(db, "SELECT successes FROM subscriptions WHERE name = ? AND ended = 0", (name,))
    return int(found[0]) if found else 0


def settle(db: apsw.Connection, claim: Claim) -> bool:
    """Delete the delivery. False if that was done before. Raises ClaimLost."""
    db.execute(
        "DELETE FROM deliveries WHERE subscription = ? AND seq = ? AND token = ?",
        (claim.subscription, claim.seq, claim.token),
    )
    if db.changes():
        return True
    _must_be_gone(db, claim)
    return False


def _update(db: apsw.Connection, claim: Claim, assignments: str, *values: float) -> None:
    db.execute(
        f"UPDATE deliveries SET {assignments} WHERE subscription = ? AND seq = ? AND token = ?",
        (*values, claim.subscription, claim.seq, claim.token),
    )
    if not db.changes():
        raise ClaimLost.lapsed(claim.seq)


def _must_be_gone(db: apsw.Connection, claim: Claim) -> None:
    where = (claim.subscription, claim.seq)
    if row(db, "SELECT 1 FROM deliveries WHERE subscription = ? AND seq = ?", where):
        raise ClaimLost.lapsed(claim.seq)
