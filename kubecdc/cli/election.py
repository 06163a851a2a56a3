"""What elects the leader of a bus: a Lease in the cluster, or the bus by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from kubecdc.cli.buses import holder
from kubecdc.cluster.connection import Cluster
from kubecdc.manifest.fields import DEFAULT_BUS
from kubecdc.storage.contracts import Bus, Elector, LeadTimes
from kubecdc.storage.manifest import EventBus
from kubecdc.watcher.election.elector import LeaseElector
from kubecdc.watcher.election.lease import ClusterLeaseClient
from kubecdc.watcher.election.settings import LeaseSettings, home_namespace


@dataclass(frozen=True)
class Election:
    """``wanted``: whether by a Lease, as the user says; None = each bus as is best for it."""

    wanted: bool | None
    lease: LeaseSettings

    def by_lease(self, manifest: EventBus) -> bool:
        """Whether a Lease elects who watches for the bus: as told, else where the bus's own election is not enough."""
        return not manifest.spec.elects_alone if self.wanted is None else self.wanted

    @property
    def lead(self) -> LeadTimes:
        """How long a lead lasts, for the bus's own elector."""
        return LeadTimes(self.lease.duration, self.lease.renew_deadline, self.lease.retry_period)

    def lease_of(self, manifest: EventBus) -> LeaseSettings:
        """Each bus has a Lease of its own."""
        if manifest.name == DEFAULT_BUS:
            return self.lease
        return replace(self.lease, name=f"{self.lease.name}-{manifest.name}")

    def elector(self, bus: Bus, manifest: EventBus, cluster: Cluster) -> Elector:
        """The bus's own; where a Lease elects, the Lease first and then that. Raises UsageError if there is none."""
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
    """From the options of `options.lease`, or only those of `options.election`. Raises UsageError."""
    durations = {"duration": lease_duration, "renew_deadline": renew_deadline, "retry_period": retry_period}
    given = {name: value for name, value in durations.items() if value is not None}
    return Election(
        leader_election, LeaseSettings(name=lease_name, namespace=lease_namespace or home_namespace(), **given)
    )
