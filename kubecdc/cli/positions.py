"""Whether a watch can resume from a resourceVersion that an operator gives."""

from __future__ import annotations

import asyncio

import click

from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.versions import older, well_formed
from kubecdc.errors import KubecdcError, UsageError
from kubecdc.storage.contracts import State
from kubecdc.storage.contracts.types import ClusterAccess
from kubecdc.watcher.capture.diff import resource_of

SECONDS = 10.0  # for the answer of the cluster


async def require_usable(version: str, state: State, access: ClusterAccess) -> None:
    """Raise UsageError for what is no resourceVersion, and for one that the cluster has not reached yet.

    A cluster that does not tell its newest is no obstacle: that is said on standard error. Servers whose versions are
    opaque take any.
    """
    if not version.isprintable() or not version.strip() or (well_formed(state.position) and not well_formed(version)):
        raise UsageError(
            f"{version!r} is not a resourceVersion",
            hint=f"give a number, such as the position now, {state.position}" if state.position else "give a number",
        )
    try:
        async with asyncio.timeout(SECONDS), access.connect() as cluster:
            newest = (await ListWatch(cluster, resource_of(state.selection)).page(1)).version
    except (KubecdcError, TimeoutError) as e:
        why = str(e) or f"no answer within {SECONDS:g} s"
        click.echo(f"could not check whether the cluster has reached {version}: {why}", err=True)
        return
    if older(newest, version):
        raise UsageError(
            f"the cluster has not reached {version} yet: its newest resourceVersion is {newest}",
            hint=f"give {newest} or less; with a later one, the watch would take the cluster for a restored one, "
            "and announce every object again",
        )
