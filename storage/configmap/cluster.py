"""Reads and writes a ConfigMap through the Kubernetes API."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.named_object import NamedObject
from kubecdc.cluster.resource import Resource
from kubecdc.errors import KubecdcError, Refused
from kubecdc.storage.configmap.config_map import Conflict, alternatives
from kubecdc.storage.contracts.types import ClusterAccess

GONE, CONFLICT = 404, 409
TOO_LARGE = frozenset({413, 422})
ETCD_TOO_LARGE = ("request is too large", "larger than max")  # messages with HTTP 500


@dataclass(frozen=True)
class Purpose:
    """What a ConfigMap is for: ``role`` is the RBAC role for it in hints, ``content`` its content in messages."""

    role: str
    content: str


CHECKPOINT = Purpose("kubecdc-checkpoint", "the checkpoint")
STATE = Purpose("kubecdc-state", "the state of triggers")


def resource(namespace: str) -> Resource:
    """The ConfigMaps of a namespace."""
    return Resource("", "v1", "configmaps", namespace)


class ClusterConfigMaps:
    """Implements `storage.configmap.config_map.ConfigMaps` with a connected cluster."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, purpose: Purpose = CHECKPOINT) -> None:
        self._content = purpose.content
        self._object = NamedObject(
            cluster,
            resource(namespace),
            name,
            what="ConfigMap",
            role=purpose.role,
            elsewhere="name another one in `checkpoint.configMap.namespace` of the EventBus",
        )

    @property
    def place(self) -> str:
        return self._object.place

    async def get(self, *, seconds: float) -> bytes | None:
        return await self._object.get(seconds=seconds)

    async def create(self, document: dict[str, Any], *, seconds: float) -> bytes:
        try:
            return await self._object.create(document, seconds=seconds)
        except ApiError as e:
            raise self._map_error(e, frozenset({CONFLICT})) from e

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        try:
            return await self._object.replace(document, seconds=seconds)
        except ApiError as e:
            raise self._map_error(e, frozenset({CONFLICT, GONE})) from e

    def _map_error(self, error: ApiError, conflicts: frozenset[int]) -> KubecdcError:
        """The error of the store for an error of the API server."""
        if error.status in conflicts:
            return Conflict(str(error))
        if error.status in TOO_LARGE or any(text in str(error) for text in ETCD_TOO_LARGE):
            return Refused(
                f"the API server does not accept {self._content}: {error}",
                hint=f"keep the `checkpoint` of the EventBus in {alternatives()}",
            )
        return error


class ConfigMapsOnDemand:
    """Implements `config_map.ConfigMaps`. The first call connects to the cluster, and may raise UsageError."""

    def __init__(self, access: ClusterAccess, namespace: str, name: str, purpose: Purpose) -> None:
        self.place = f"{namespace}/{name}"
        self._access = access
        self._args = (namespace, name, purpose)
        self._stack = AsyncExitStack()
        self._connecting = asyncio.Lock()
        self._connected: ClusterConfigMaps | None = None

    async def get(self, *, seconds: float) -> bytes | None:
        return await (await self._api()).get(seconds=seconds)

    async def create(self, document: dict[str, Any], *, seconds: float) -> bytes:
        return await (await self._api()).create(document, seconds=seconds)

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        return await (await self._api()).replace(document, seconds=seconds)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._stack.aclose()

    async def _api(self) -> ClusterConfigMaps:
        async with self._connecting:
            if self._connected is None:
                cluster = await asyncio.to_thread(self._access.connect)  # reads files, and may run a credential plugin
                self._connected = ClusterConfigMaps(await self._stack.enter_async_context(cluster), *self._args)
            return self._connected
