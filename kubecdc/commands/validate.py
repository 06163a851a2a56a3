"""`kubecdc validate`: manifests, offline or against the cluster."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click

from kubecdc import options
from kubecdc.manifests import load
from storage.errors import KubecdcError
from watcher.manifest import EventSource


@click.command()
@options.manifests
@click.option(
    "--cluster",
    "against_cluster",
    is_flag=True,
    envvar="KUBECDC_CLUSTER",
    show_envvar=True,
    help="Also ask the cluster: is each resource there, may it be read?",
)
@options.cluster
def validate(filenames: tuple[str, ...], against_cluster: bool, kubeconfig: str | None, context: str | None) -> None:
    """Check manifests offline and print every problem.

    Exit code 2 if there is any. Asked with --cluster too, exit code 1 if it lacks a resource, forbids to get, list or
    watch it, or cannot be reached; nothing is written there.
    """
    manifests = load(filenames, stdin=sys.stdin)
    for notice in manifests.notices:
        click.echo(f"notice: {notice}", err=True)
    click.echo(
        f"valid: {_count(len(manifests.sources), 'EventSource')}, {_count(len(manifests.sensors), 'Sensor')}, "
        f"bus {', '.join(manifests.buses)}"
    )
    if against_cluster:
        asyncio.run(_ask(list(manifests.sources.values()), kubeconfig, context))


async def _ask(sources: Sequence[EventSource], kubeconfig: str | None, context: str | None) -> None:
    from watcher import access
    from watcher.cluster import Cluster

    async with Cluster(kubeconfig, context) as cluster:
        problems = await access.check(cluster, sources)
        if problems:
            count = _count(len(problems), "problem")
            raise KubecdcError("\n".join([f"{count} with the cluster at {cluster.host}", *map(str, problems)]))
        click.echo(f"the cluster at {cluster.host} has every resource, and lets it be read")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
