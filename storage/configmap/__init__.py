"""Checkpoints in a ConfigMap, for a bus that cannot hold its own, in a cluster without other storage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from kubecdc.storage.configmap.config_map import ConfigMaps, Conflict
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings

__all__ = ["ConfigMapCheckpoints", "ConfigMapSettings", "ConfigMaps", "Conflict", "opened_checkpoints"]


@asynccontextmanager
async def opened_checkpoints(
    api: ConfigMaps,
    settings: ConfigMapSettings | None = None,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[ConfigMapCheckpoints]:
    """The checkpoints in a ConfigMap, which is made with the first write. What waits is written at the end.

    ``now`` and ``sleep`` are the clock of the write window.
    """
    store = ConfigMapCheckpoints(api, settings or ConfigMapSettings(), now=now, sleep=sleep)
    try:
        yield store
    finally:
        await store.close()
