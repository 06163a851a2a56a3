"""`kubecdc validate`: checks manifests, offline or also against the cluster."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import click

from kubecdc.cli import options
from kubecdc.cli.buses import buses_named
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.cli.option import option
from kubecdc.counts import counted
from kubecdc.errors import KubecdcError
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts.types import ClusterAccess


@click.command()
@options.manifests
@option(
    "--cluster",
    "against_cluster",
    is_flag=True,
    help="Also check that the cluster has each resource, Secret and ConfigMap, and grants the permissions for "
    "watching, leader election, checkpoints and triggers.",
)
@options.mounts
@options.namespace
@options.cluster
@options.election
def validate(filenames: tuple[str, ...], against_cluster: bool, **election: Any) -> None:
    """Check manifests offline and print every problem.

    Exit code 2 if there is a problem.

    With --cluster, exit code 1 if the cluster cannot be reached, does not have a resource, or does not grant a
    permission. These are checked: get, list and watch on each resource; get, create and update on the Lease, if a Lease
    elects the leader; and what the checkpoint store and the triggers need. Exit code 1 also if a Secret or ConfigMap
    that the manifests refer to is neither mounted here nor in the cluster, or lacks the key. Nothing is written to the
    cluster.
    """
    manifests = load(filenames, stdin=sys.stdin, to_run=True)
    for notice in manifests.notices:
        click.echo(f"notice: {notice}", err=True)
    click.echo(
        f"valid: {counted(len(manifests.sources), 'EventSource')}, {counted(len(manifests.sensors), 'Sensor')}, "
        f"bus {', '.join(manifests.buses)}"
    )
    if against_cluster:
        asyncio.run(_check_cluster(manifests, options.cluster_access(), options.mounted(), election))


async def _check_cluster(
    manifests: Manifests, cluster_access: ClusterAccess, mounts: Mounts, options: Mapping[str, Any]
) -> None:
    from kubecdc.cli import key_uses
    from kubecdc.cli.election import from_options
    from kubecdc.storage import access as store_access
    from kubecdc.watcher import access
    from kubecdc.workers import access as trigger_access

    election, sources = from_options(**options), manifests.sources.values()
    watched = buses_named(manifests, [source.spec.event_bus_name for source in sources])
    worked = buses_named(manifests, [sensor.spec.event_bus_name for sensor in manifests.sensors.values()])
    leases = {bus.name: election.lease_of(bus) for bus in watched if election.by_lease(bus)}
    home, both = cluster_access.namespace, {bus.name: bus for bus in (*watched, *worked)}
    async with cluster_access.connect() as cluster:
        problems = await access.check(cluster, sources, leases)
        problems += await store_access.check(cluster, watched, worked, home)
        problems += await trigger_access.check(cluster, manifests.sensors.values(), home)
        uses = [*key_uses.of_sensors(manifests.sensors.values(), home), *key_uses.of_buses(both.values(), home)]
        missing, notices = await key_uses.check(cluster_access, mounts, uses)
        problems += missing
        for notice in notices:
            click.echo(f"notice: {notice}", err=True)
        if problems:
            count = counted(len(problems), "problem")
            raise KubecdcError("\n".join([f"{count} with the cluster at {cluster.host}", *map(str, problems)]))
        click.echo(f"the cluster at {cluster.host} has every resource and grants access to it")
        for lease in leases.values():
            click.echo(f"the Lease {lease.namespace}/{lease.name} can be used for leader election")
