"""The connection that all triggers of a process share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from kubecdc.errors import UsageError

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster
    from kubecdc.cluster.object_client import Objects


class SharedCluster:
    """One connection to the API server. It is opened by its first use.

    ``namespace`` is that of objects whose manifests name none. ``facts`` are those of `Cluster`, once it is open.
    """

    def __init__(self, connect: Callable[[], Cluster], namespace: str = "default") -> None:
        self.namespace = namespace
        self.facts: dict[str, str] = {}
        self._connect = connect
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._objects: Objects | None = None

    async def objects(self) -> Objects:
        """Access to the objects. Raises UsageError if no cluster is configured."""
        if self._objects is None:
            # Imported on first use, because commands that need no cluster start faster without.
            from kubecdc.cluster.object_client import Objects

            async with self._lock:
                if self._objects is None:
                    cluster = await self._stack.enter_async_context(self._connect())
                    self.facts = cluster.facts
                    self._objects = Objects(cluster)
        return self._objects

    async def aclose(self) -> None:
        """Close the connection, if it was opened."""
        self._objects = None
        await self._stack.aclose()


def no_cluster() -> Cluster:
    """The connection of those who were given none. Raises UsageError."""
    raise UsageError("no cluster is configured", hint="name a kubeconfig with --kubeconfig")
