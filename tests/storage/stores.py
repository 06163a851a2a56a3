"""Harnesses of the checkpoint stores."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kubecdc.cluster.connection import Cluster
from kubecdc.storage import configmap, redis, sqlite
from kubecdc.storage.configmap.cluster import ClusterConfigMaps
from kubecdc.storage.contracts import CheckpointStore

AT_ONCE = configmap.ConfigMapSettings(window=timedelta(0))


@dataclass(frozen=True)
class SqliteStores:
    """A file."""

    path: Path
    stack: AsyncExitStack

    async def store(self, holder: str = "one") -> CheckpointStore:
        settings = sqlite.SqliteSettings(self.path)
        return await self.stack.enter_async_context(sqlite.opened_checkpoints(settings))


@dataclass(frozen=True)
class RedisStores:
    """A name in a Redis."""

    url: str
    name: str
    stack: AsyncExitStack

    async def store(self, holder: str = "one") -> CheckpointStore:
        settings = redis.RedisSettings(self.url, name=self.name)
        return await self.stack.enter_async_context(redis.opened_checkpoints(settings))


@dataclass(frozen=True)
class ConfigMapStores:
    """A ConfigMap; without a write window, unless told otherwise."""

    kubeconfig: Path
    name: str
    stack: AsyncExitStack
    settings: configmap.ConfigMapSettings = AT_ONCE

    async def store(self, holder: str = "one") -> configmap.ConfigMapCheckpoints:
        cluster = await self.stack.enter_async_context(Cluster(str(self.kubeconfig)))
        api = ClusterConfigMaps(cluster, "default", self.name)
        return await self.stack.enter_async_context(configmap.opened_checkpoints(api, self.settings))
