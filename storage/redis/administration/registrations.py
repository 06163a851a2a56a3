"""The subscriptions of a bus: registering, status, pruning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubecdc.storage.contracts import SubscriptionSpec, SubscriptionStatus, Worker
from kubecdc.storage.redis.server.connection import BODIES_BYTES, Argument, Connection

FORMAT = 1  # of the keys
STEP = 500  # events in one script, so that commits and reads get their turn


class Registrations:
    """What this process has registered. It registers it again in a Redis that lost it."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self._connection = connection
        self._partitions = partitions
        self._specs: dict[str, SubscriptionSpec] = {}

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Add new subscriptions. A known name takes the new source and subject, and its backlog stays."""
        wanted = {spec.name: spec for spec in specs}
        await self._send(wanted, only_missing=False)
        self._specs |= wanted

    async def restore(self) -> None:
        """Register what Redis has lost, but not what was pruned."""
        if self._specs:
            await self._connection.run("administration/open", self._partitions, FORMAT, 1)
            await self._send(self._specs, only_missing=True)

    async def _send(self, specs: Mapping[str, SubscriptionSpec], *, only_missing: bool) -> None:
        args: list[Argument] = []
        for spec in specs.values():
            args += [spec.name, spec.source, spec.subject]
        if args:
            await self._connection.run("administration/register", self._partitions, int(only_missing), *args)


async def registered(connection: Connection, name: str) -> SubscriptionSpec | None:
    """The spec of a subscription; None if it is not registered."""
    id_ = await connection.keyed("HGET", "subscriptions", name)
    found = id_ and await connection.keyed("HMGET", f"subscription:{int(id_)}", "source", "subject")
    if not found or found[0] is None:
        return None
    return SubscriptionSpec(name, found[0].decode(), found[1].decode())


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
