"""The subscriptions of a bus: status, pruning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubecdc.storage.contracts import UNKNOWN, SubscriptionSpec, SubscriptionStatus, Unknown, Worker
from kubecdc.storage.redis.administration.ages import Ages, Owed
from kubecdc.storage.redis_server.connection import BODIES_BYTES, Connection

STEP = 250  # events in one script, so that commits and reads get their turn
STATUSES = 50  # the same, where several commands are for each


async def statuses(connection: Connection, ages: Ages | None) -> list[SubscriptionStatus]:
    """All subscriptions by name. No script does more than a bounded part of the work."""
    ids: list[bytes] = (await connection.keyed("HGETALL", "subscriptions"))[1::2]
    answers = await connection.run_in_pages("administration/status", ids, STATUSES)
    found: dict[bytes, Sequence[Any]] = {id_: answer for id_, answer in zip(ids, answers, strict=True) if answer}
    oldest: Mapping[bytes, float | Unknown] = dict.fromkeys(found, UNKNOWN)
    if ages is not None:
        oldest = await ages.oldest({id_: Owed(tuple(of[8]), int(of[9])) for id_, of in found.items() if int(of[4]) > 0})
    return sorted((_status(of, oldest.get(id_)) for id_, of in found.items()), key=lambda status: status.spec.name)


def _status(of: Sequence[Any], oldest: float | Unknown | None) -> SubscriptionStatus:
    name, source, subject, registered, pending, dead, holders, gone, _, _ = of
    seen: dict[str, float] = {}
    for heartbeat in holders:
        time, _, holder = heartbeat.decode().partition(" ")
        seen[holder] = max(seen.get(holder, 0.0), int(time) / 1000)
    return SubscriptionStatus(
        SubscriptionSpec(name.decode(), source.decode(), subject.decode()),
        int(registered) / 1000,
        max(0, int(pending)),
        oldest,
        int(dead),
        tuple(Worker(holder, time) for holder, time in sorted(seen.items())),
        int(gone),
    )


async def prune(connection: Connection, name: str, partitions: int) -> bool:
    """End a subscription, in small steps. If it is interrupted, the leader's retention does the rest."""
    found = bool(await connection.run("administration/end", name))
    if found:
        await drop_backlogs(connection, partitions)
    return found


async def drop_backlogs(connection: Connection, partitions: int) -> None:
    """Settle the backlogs of subscriptions that ended."""
    while await connection.run("administration/drop", partitions, STEP, BODIES_BYTES):
        pass


async def forget_entries(connection: Connection, partitions: int) -> None:
    """Forget what nobody subscribes to any more, once nothing of it is retained."""
    while await connection.run("administration/forget", partitions):
        pass
