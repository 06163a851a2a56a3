"""The open checkpoint store in a ConfigMap."""

from __future__ import annotations

import asyncio
import time

from kubecdc.storage.configmap.cluster import ConfigMapsOnDemand
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings
from kubecdc.storage.contracts.types import ClusterAccess


class OpenedStore:
    """Implements `storage.contracts.types.Store`."""

    state = None
    elector = None

    def __init__(self, access: ClusterAccess, namespace: str, name: str) -> None:
        self._api = ConfigMapsOnDemand(access, namespace, name)
        self.checkpoints = ConfigMapCheckpoints(self._api, ConfigMapSettings(), now=time.monotonic, sleep=asyncio.sleep)

    async def close(self) -> None:
        try:
            await self.checkpoints.close()
        finally:
            await self._api.close()
