"""Harnesses of the checkpoint stores."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kubecdc.cluster.connection import Cluster
from kubecdc.storage.configmap.cluster import STATE, ClusterConfigMaps
from kubecdc.storage.configmap.state import ConfigMapState, StateSettings
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings
from kubecdc.storage.contracts import CheckpointStore
from kubecdc.storage.contracts.types import ClusterAccess, Opening
from kubecdc.storage.redis.manifest import RedisCheckpoint
from kubecdc.storage.redis.store import RedisStore
from kubecdc.storage.sqlite.manifest import SqliteCheckpoint
from kubecdc.storage.sqlite.store import SqliteStore

AT_ONCE = ConfigMapSettings(window=timedelta(0))


def opening(holder: str) -> Opening:
    """As a command that needs no cluster opens a store."""
    return Opening(holder, ClusterAccess(Cluster))


@dataclass(frozen=True)
class SqliteStores:
    """A file."""

    path: Path
    stack: AsyncExitStack

    async def store(self, holder: str = "one") -> CheckpointStore:
        opened = await SqliteStore().open(SqliteCheckpoint(path=str(self.path)), "default", opening(holder))
        self.stack.push_async_callback(opened.close)
        return opened.checkpoints


@dataclass(frozen=True)
class RedisStores:
    """A name in a Redis."""

    url: str
    name: str
    stack: AsyncExitStack

    async def store(self, holder: str = "one") -> CheckpointStore:
        opened = await RedisStore().open(RedisCheckpoint(url=self.url), self.name, opening(holder))
        self.stack.push_async_callback(opened.close)
        return opened.checkpoints


@dataclass(frozen=True)
class ConfigMapStores:
    """A ConfigMap; without a write window, unless told otherwise."""

    kubeconfig: Path
    name: str
    stack: AsyncExitStack
    settings: ConfigMapSettings = AT_ONCE

    async def store(self, holder: str = "one") -> ConfigMapCheckpoints:
        cluster = await self.stack.enter_async_context(Cluster(str(self.kubeconfig)))
        api = ClusterConfigMaps(cluster, "default", self.name)
        opened = ConfigMapCheckpoints(api, self.settings, now=time.monotonic, sleep=asyncio.sleep)
        self.stack.push_async_callback(opened.close)
        return opened

    async def state(self, settings: StateSettings | None = None) -> ConfigMapState:
        """The state of a process, in a ConfigMap of the same name."""
        cluster = await self.stack.enter_async_context(Cluster(str(self.kubeconfig)))
        api = ClusterConfigMaps(cluster, "default", self.name, STATE)
        opened = ConfigMapState(
            api, settings or StateSettings(), clock=time.time, now=time.monotonic, sleep=asyncio.sleep
        )
        self.stack.push_async_callback(opened.close)
        return opened
