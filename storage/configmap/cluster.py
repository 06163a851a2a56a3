"""The ConfigMap that keeps checkpoints, for `storage.configmap`."""

from __future__ import annotations

from typing import Any

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.named_object import NamedObject
from kubecdc.cluster.resource import Resource
from kubecdc.errors import KubecdcError, Refused
from kubecdc.storage.configmap import Conflict

GONE, CONFLICT = 404, 409
TOO_LARGE = frozenset({413, 422})
OF_ETCD = ("request is too large", "larger than max")  # by HTTP 500


class ClusterConfigMaps:
    """`storage.configmap.ConfigMaps` in a cluster."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._object = NamedObject(
            cluster,
            Resource("", "v1", "configmaps", namespace),
            name,
            what="ConfigMap",
            role="kubecdc-checkpoint",
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
            raise _sorted(e, frozenset({CONFLICT})) from e

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        try:
            return await self._object.replace(document, seconds=seconds)
        except ApiError as e:
            raise _sorted(e, frozenset({CONFLICT, GONE})) from e


def _sorted(error: ApiError, conflicts: frozenset[int]) -> KubecdcError:
    """The error as the store knows it."""
    if error.status in conflicts:
        return Conflict(str(error))
    if error.status in TOO_LARGE or any(text in str(error) for text in OF_ETCD):
        return Refused(
            f"the API server does not take the checkpoint: {error}",
            hint="keep the `checkpoint` of the EventBus in `redis` or `sqlite`",
        )
    return error
