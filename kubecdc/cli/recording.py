"""Kubernetes Events about this process, if there is a cluster to write them to."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from kubecdc.cluster import recorder
from kubecdc.cluster.shared import SharedCluster
from kubecdc.watcher.election import settings

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster


def begin(
    stack: AsyncExitStack, cluster: Cluster | None, shared: SharedCluster, *, uses_cluster: bool
) -> recorder.Recorder | None:
    """What writes them, until the stack is closed. None if this process neither uses the cluster nor has a token of it.

    ``cluster`` is the connection of the watcher; without it, that of the triggers is used, or opened.
    """
    in_cluster = settings.NAMESPACE_FILE.exists()
    if cluster is None and not uses_cluster and not in_cluster:
        return None

    async def connect() -> Cluster:
        return cluster or await shared.connection()

    made = recorder.Recorder(connect, shared.namespace, recorder.own_pod(in_cluster))
    writing = asyncio.create_task(made.run())
    stack.callback(writing.cancel)
    return made
