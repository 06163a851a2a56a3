"""How the leader of a bus is elected: with a Lease in the cluster, or by the bus itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from kubecdc.cli import options
from kubecdc.cli.buses import holder
from kubecdc.cluster.connection import Cluster
from kubecdc.manifest.fields import DEFAULT_BUS
from kubecdc.storage.contracts import Bus, Elector, LeadTimes
from kubecdc.storage.manifest import EventBus
from kubecdc.watcher.election.elector import LeaseElector
from kubecdc.watcher.election.lease import ClusterLeaseClient
from kubecdc.watcher.election.settings import LeaseSettings


@dataclass(frozen=True)
class Election:
    """The user's choice. ``use_lease`` is None if the user leaves it to the type of each bus."""

    use_lease: bool | None
    lease: LeaseSettings

    def by_lease(self, manifest: EventBus) -> bool:
        """Whether a Lease elects the leader: as the user chose, or else if the bus's own election is not sufficient."""
        return not manifest.spec.elects_alone if self.use_lease is None else self.use_lease

    @property
    def lead(self) -> LeadTimes:
        """The durations of the election, for the bus's own elector."""
        return LeadTimes(self.lease.duration, self.lease.renew_deadline, self.lease.retry_period)

    def lease_of(self, manifest: EventBus) -> LeaseSettings:
        """The Lease of a bus. Each bus has its own: ``<name>-<bus>``, except for the default bus."""
        name = self.lease.name if manifest.name == DEFAULT_BUS else f"{self.lease.name}-{manifest.name}"
        place = manifest.spec.queue_type.place(manifest.spec.queue)
        return replace(self.lease, name=name, bus=f"{place}, bus {manifest.name}")

    def elector(self, bus: Bus, manifest: EventBus, cluster: Cluster) -> Elector:
        """The bus's own elector, or with a Lease, one that takes the Lease first, then the bus's own.

        Raises UsageError if neither is available.
        """
        if not self.by_lease(manifest):
            return bus.elector
        inner = bus.elector if bus.capabilities.elector else None
        lease = self.lease_of(manifest)
        leases = ClusterLeaseClient(cluster, lease.namespace, lease.name)
        return LeaseElector(leases, bus.checkpoints, lease, holder=holder(), inner=inner)


def from_options(
    *,
    leader_election: bool | None,
    lease_name: str,
    lease_namespace: str | None,
    lease_duration: timedelta | None = None,
    renew_deadline: timedelta | None = None,
    retry_period: timedelta | None = None,
) -> Election:
    """The election from the options of `options.lease`, or only of `options.election`.

    Raises UsageError for durations that do not fit together.
    """
    durations = {"duration": lease_duration, "renew_deadline": renew_deadline, "retry_period": retry_period}
    given: dict[str, Any] = {name: value for name, value in durations.items() if value is not None}
    return Election(
        leader_election, LeaseSettings(name=lease_name, namespace=lease_namespace or options.home(), **given)
    )
