"""The subscriptions of a bus: status, pruning."""

from __future__ import annotations

from kubecdc.storage.contracts import SubscriptionSpec, SubscriptionStatus, Worker
from kubecdc.storage.redis_server.connection import BODIES_BYTES, Connection

STEP = 500  # events in one script, so that commits and reads get their turn


async def statuses(connection: Connection, partitions: int) -> list[SubscriptionStatus]:
    """All subscriptions by name."""
    found = []
    for name, source, subject, registered, pending, oldest, dead, holders in await connection.run(
        "administration/status", partitions
    ):
        seen: dict[str, float] = {}
        for heartbeat in holders:
            time, _, holder = heartbeat.decode().partition(" ")
            seen[holder] = max(seen.get(holder, 0.0), int(time) / 1000)
        found.append(
            SubscriptionStatus(
                SubscriptionSpec(name.decode(), source.decode(), subject.decode()),
                int(registered) / 1000,
                int(pending),
                int(oldest) / 1000 if int(oldest) >= 0 else None,
                int(dead),
                tuple(Worker(holder, time) for holder, time in sorted(seen.items())),
            )
        )
    return sorted(found, key=lambda status: status.spec.name)


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
