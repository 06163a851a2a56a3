"""The open checkpoint store in a ConfigMap, with the state in a second one."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from kubecdc.storage.configmap.cluster import CHECKPOINT, STATE, ConfigMapsOnDemand
from kubecdc.storage.configmap.state import ConfigMapState, StateSettings
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings
from kubecdc.storage.contracts.types import ClusterAccess


class OpenedStore:
    """Implements `storage.contracts.types.Store`. ``name`` and ``state`` are the names of the two ConfigMaps."""

    elector = None

    def __init__(self, access: ClusterAccess, namespace: str, name: str, state: str) -> None:
        self._stack = AsyncExitStack()
        own = self._api(ConfigMapsOnDemand(access, namespace, name, CHECKPOINT))
        shared = self._api(ConfigMapsOnDemand(access, namespace, state, STATE))
        self.checkpoints = ConfigMapCheckpoints(own, ConfigMapSettings(), now=time.monotonic, sleep=asyncio.sleep)
        self.state = ConfigMapState(shared, StateSettings(), clock=time.time, now=time.monotonic, sleep=asyncio.sleep)
        self._stack.push_async_callback(self.checkpoints.close)
        self._stack.push_async_callback(self.state.close)

    async def close(self) -> None:
        await self._stack.aclose()

    def _api(self, api: ConfigMapsOnDemand) -> ConfigMapsOnDemand:
        self._stack.push_async_callback(api.close)
        return api
