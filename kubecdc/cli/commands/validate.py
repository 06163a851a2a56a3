"""`kubecdc validate`: manifests, offline or against the cluster."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import click

from kubecdc.cli import options
from kubecdc.cli.buses import used
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.errors import KubecdcError
from kubecdc.storage.contracts.types import ClusterAccess


@click.command()
@options.manifests
@click.option(
    "--cluster",
    "against_cluster",
    is_flag=True,
    envvar="KUBECDC_CLUSTER",
    show_envvar=True,
    help="Also ask the cluster: is each resource there, may it be read, may a Lease elect the leader, are the "
    "permissions of the triggers granted?",
)
@options.cluster
@options.election
def validate(filenames: tuple[str, ...], against_cluster: bool, **election: Any) -> None:
    """Check manifests offline and print every problem.

    Exit code 2 if there is any. With --cluster, exit code 1 if the cluster lacks a resource or forbids to get, list or
    watch it, or to get, create and update the Lease if one elects the leader, or to do what a trigger needs, or if it
    cannot be reached. Nothing is written to the cluster.
    """
    manifests = load(filenames, stdin=sys.stdin)
    for notice in manifests.notices:
        click.echo(f"notice: {notice}", err=True)
    click.echo(
        f"valid: {_count(len(manifests.sources), 'EventSource')}, {_count(len(manifests.sensors), 'Sensor')}, "
        f"bus {', '.join(manifests.buses)}"
    )
    if against_cluster:
        asyncio.run(_ask(manifests, options.cluster_access(), election))


async def _ask(manifests: Manifests, way: ClusterAccess, options: Mapping[str, Any]) -> None:
    from kubecdc.cli.election import from_options
    from kubecdc.watcher import access
    from kubecdc.workers import access as trigger_access

    election, sources = from_options(**options), manifests.sources.values()
    watched = used(manifests, [source.spec.event_bus_name for source in sources])
    leases = {bus.name: election.lease_of(bus) for bus in watched if election.by_lease(bus)}
    async with way.connect() as cluster:
        problems = await access.check(cluster, sources, leases)
        problems += await trigger_access.check(cluster, manifests.sensors.values())
        if problems:
            count = _count(len(problems), "problem")
            raise KubecdcError("\n".join([f"{count} with the cluster at {cluster.host}", *map(str, problems)]))
        click.echo(f"the cluster at {cluster.host} has every resource, and lets it be read")
        for lease in leases.values():
            click.echo(f"the Lease {lease.namespace}/{lease.name} may elect the leader")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
