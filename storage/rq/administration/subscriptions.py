"""The subscriptions of a bus on RQ: status, pruning."""

from __future__ import annotations

from collections.abc import Sequence

from rq.utils import utcparse

from kubecdc.storage.contracts import SubscriptionSpec, SubscriptionStatus, Worker
from kubecdc.storage.redis_server.connection import Connection

STEP = 250  # jobs in one script, so that commits and claims get their turn
SUBSCRIPTIONS = 100  # in one script


async def statuses(connection: Connection) -> list[SubscriptionStatus]:
    """All subscriptions by name."""
    ids = (await connection.keyed("HGETALL", "subscriptions"))[1::2]
    found = []
    for name, source, subject, registered, pending, oldest, dead, workers, gone in await connection.run_in_pages(
        "administration/status", ids, SUBSCRIPTIONS
    ):
        seen: dict[str, float] = {}
        for worker in workers:
            holder, time = _worker(worker)
            seen[holder] = max(seen.get(holder, 0.0), time)
        found.append(
            SubscriptionStatus(
                SubscriptionSpec(name.decode(), source.decode(), subject.decode()),
                int(registered) / 1000,
                int(pending),
                float(oldest) / 1000 if float(oldest) >= 0 else None,
                int(dead),
                tuple(Worker(holder, time) for holder, time in sorted(seen.items())),
                int(gone),
            )
        )
    return sorted(found, key=lambda status: status.spec.name)


def _worker(found: Sequence[bytes | None]) -> tuple[str, float]:
    """The holder of a worker and its last heartbeat. RQ's own workers have no holder of ours."""
    heartbeat, holder, host, pid = ((value or b"").decode() for value in found)
    return holder or f"{host}/{pid}", utcparse(heartbeat).timestamp()


async def prune(connection: Connection, name: str) -> bool:
    """End a subscription, in small steps. If it is interrupted, the leader does the rest."""
    found = bool(await connection.run("administration/end", name))
    if found:
        await drop_ended(connection)
    return found


async def drop_ended(connection: Connection) -> None:
    """Delete the jobs of subscriptions that ended."""
    while await connection.run("administration/drop", STEP):
        pass
