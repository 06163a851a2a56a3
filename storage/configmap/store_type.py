"""The checkpoint store ``configMap``."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from kubecdc.manifest.fields import DEFAULT_BUS
from kubecdc.storage.configmap.manifest import ConfigMapCheckpoint
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings
from kubecdc.storage.contracts.types import Opening, Store, StoreType

if TYPE_CHECKING:
    from kubecdc.storage.configmap.cluster import ConfigMapsOnDemand

NAME = "kubecdc-checkpoint"


class ConfigMapStore(StoreType[ConfigMapCheckpoint]):
    """Stores all checkpoints of a bus in one ConfigMap. It supports neither state nor election."""

    model = ConfigMapCheckpoint
    example = f"{{name: {NAME}}}"
    elsewhere = "a ConfigMap"
    default = True

    async def open(self, spec: ConfigMapCheckpoint, bus: str, opening: Opening) -> Store:
        """Open the store. It connects to the cluster on first use, so a worker does not need access."""
        from kubecdc.storage.configmap.cluster import ConfigMapsOnDemand

        namespace = spec.namespace or opening.cluster.namespace
        name = spec.name or (NAME if bus == DEFAULT_BUS else f"{NAME}-{bus}")
        return _Opened(ConfigMapsOnDemand(opening.cluster, namespace, name))


class _Opened:
    """Implements `storage.contracts.types.Store`."""

    state = None
    elector = None

    def __init__(self, api: ConfigMapsOnDemand) -> None:
        self._api = api
        self.checkpoints = ConfigMapCheckpoints(api, ConfigMapSettings(), now=time.monotonic, sleep=asyncio.sleep)

    async def close(self) -> None:
        try:
            await self.checkpoints.close()
        finally:
            await self._api.close()
