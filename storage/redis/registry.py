"""The subscriptions of a bus: registered, counted, ended."""

from __future__ import annotations

from collections.abc import Iterable

from storage.contracts import SubscriptionSpec, SubscriptionStatus, Worker
from storage.redis.connection import BODIES_BYTES, Argument, Connection

STEP = 500  # events a script, so that commits and reads get their turn


async def register(connection: Connection, specs: Iterable[SubscriptionSpec], partitions: int) -> None:
    """Add what is new; a known name takes the new source and subject, its backlog stays."""
    args: list[Argument] = []
    for spec in specs:
        args += [spec.name, spec.source, spec.subject]
    if args:
        await connection.run("register", partitions, *args)


async def statuses(connection: Connection, partitions: int) -> list[SubscriptionStatus]:
    """All subscriptions by name."""
    found = []
    for name, source, subject, registered, pending, oldest, dead, holders in await connection.run("status", partitions):
        seen: dict[str, float] = {}
        for said in holders:
            time, _, holder = said.decode().partition(" ")
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
    """In small steps; if it is interrupted, the leader's next sweep does the rest."""
    found = bool(await connection.run("end", name))
    if found:
        await drop_backlogs(connection, partitions)
    return found


async def drop_backlogs(connection: Connection, partitions: int) -> None:
    """Settle what is left of subscriptions that ended."""
    while await connection.run("drop", partitions, STEP, BODIES_BYTES):
        pass
