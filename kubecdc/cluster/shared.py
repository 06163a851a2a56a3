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

    ``namespace`` is that of objects whose manifests name none, ``naming`` is what a user gives to have another one.
    ``facts`` are those of `Cluster`, once it is open.
    ``contents`` are the values of its Secrets and ConfigMaps.
    """

    def __init__(
        self, connect: Callable[[], Cluster], namespace: str = "default", naming: str = "POD_NAMESPACE"
    ) -> None:
        # Imported with the first object, because it logs: commands that open no bus start faster without.
        from kubecdc.cluster.contents import Contents

        self.namespace = namespace
        self.naming = naming
        self.facts: dict[str, str] = {}
        self.contents = Contents(self._opened)
        self._connect = connect
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._cluster: Cluster | None = None
        self._objects: Objects | None = None

    async def objects(self) -> Objects:
        """Access to the objects. Raises UsageError if no cluster is configured."""
        if self._objects is None:
            # Imported on first use, because commands that need no cluster start faster without.
            from kubecdc.cluster.object_client import Objects

            cluster = await self._opened()
            self._objects = self._objects or Objects(cluster)
        return self._objects

    async def connection(self) -> Cluster:
        """The connection itself. Raises UsageError if no cluster is configured."""
        return await self._opened()

    async def _opened(self) -> Cluster:
        async with self._lock:
            if self._cluster is None:
                self._cluster = await self._stack.enter_async_context(self._connect())
                self.facts = self._cluster.facts
            return self._cluster

    async def aclose(self) -> None:
        """Close the connection, if it was opened."""
        self._objects = self._cluster = None
        await self.contents.close()
        await self._stack.aclose()


def no_cluster() -> Cluster:
    """The connection of those who were given none. Raises UsageError."""
    raise UsageError("no cluster is configured", hint="name a kubeconfig with --kubeconfig")
