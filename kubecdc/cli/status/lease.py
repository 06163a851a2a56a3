"""Who leads by the Lease, for buses that keep no reports of processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kubecdc.cluster.connection import Cluster
from kubecdc.watcher.election.lease import ClusterLeaseClient
from kubecdc.watcher.election.settings import LeaseSettings

READ_SECONDS = 3.0
CLOCK_SECONDS = 30.0  # by which the clock of the leader and the one here may differ


@dataclass(frozen=True)
class Lead:
    """``holder`` leads; if it is "", nobody does, and ``why`` says why."""

    holder: str = ""
    why: str = ""


async def read(cluster: Cluster, settings: LeaseSettings, now: float) -> Lead:
    """What the Lease says at ``now`` (Unix time). Raises ApiError, Malformed."""
    lease = await ClusterLeaseClient(cluster, settings.namespace, settings.name).get(seconds=READ_SECONDS)
    if lease is None:
        return Lead(why=f"there is no Lease {settings.place} (-n and --lease-name name another one)")
    if not lease.holder:
        return Lead(why=f"nobody holds the Lease {settings.place}")
    if lease.bus not in {"", settings.bus}:
        return Lead(why=f"the Lease {settings.place} elects the leader of another bus, {lease.bus}")
    if _age(lease.renewed, now) > (lease.duration or settings.seconds) + CLOCK_SECONDS:
        late = f"has not renewed the Lease {settings.place} since {lease.renewed}"
        return Lead(why=f"the last leader, {lease.holder}, {late}")
    return Lead(lease.holder)


def _age(renewed: str, now: float) -> float:
    """0 if it is not known: such a Lease is taken for a held one."""
    try:
        return now - datetime.fromisoformat(renewed).timestamp()
    except ValueError:
        return 0.0
