"""A k8s trigger on a simulated API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.shared import SharedCluster
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.addresses import EVERYWHERE, Addresses
from kubecdc.workers.outcome import Outcome, Success
from kubecdc.workers.route import Route, route
from kubecdc.workers.triggers.contract import json_line
from tests.apiserver import ApiServer, LocalSimulator
from tests.workers.support import event, sensor

Body = dict[str, Any]
JOBS = ("batch", "v1", "jobs")
CONFIGMAPS = ("", "v1", "configmaps")


async def jobs(api: ApiServer | LocalSimulator, count: int) -> list[Body]:
    """The Jobs of the default namespace, once there are so many."""
    found: list[Body] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found = (await api.list(*JOBS, "default"))["items"]
            await asyncio.sleep(0.05)
    return found


def config_map(name: str = "one", **more: Any) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}, **more}


def source(document: Mapping[str, Any], **more: Any) -> Body:
    return {"source": {"resource": document}, **more}


def parameter(dest: str, data_key: str = "", **more: Any) -> Body:
    src = {"dependencyName": "dep", **({"dataKey": data_key} if data_key else {}), **more}
    return {"src": src, "dest": dest}


class Bench:
    """The routes of triggers, with the connection that they share."""

    type = "k8s"

    def __init__(self, kubeconfig: Path, cluster: SharedCluster) -> None:
        self.cluster = cluster

    def route(
        self,
        config: Mapping[str, Any],
        *,
        namespace: str = "",
        mounts: Mounts | None = None,
        addresses: Addresses = EVERYWHERE,
        **more: Any,
    ) -> Route:
        manifest = {"template": {"name": "t", self.type: config}, **more}
        made = sensor(manifest)
        if namespace:
            made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"namespace": namespace})})
        return route(
            made,
            made.spec.triggers[0],
            made.spec.dependencies[0],
            concurrency=4,
            render=json_line,
            mounts=mounts or Mounts(),
            cluster=self.cluster,
            addresses=addresses,
        )

    async def run(self, config: Mapping[str, Any], given: Event | None = None, **more: Any) -> Outcome:
        to = self.route(config, **more)
        try:
            return await to.trigger.execute(to.request(given or event()))
        finally:
            await to.trigger.close()

    async def done(self, config: Mapping[str, Any], given: Event | None = None, **more: Any) -> None:
        assert await self.run(config, given, **more) == Success()


@asynccontextmanager
async def bench(kubeconfig: Path) -> AsyncIterator[Bench]:
    async with aclosing(SharedCluster(lambda: Cluster(str(kubeconfig)))) as cluster:
        yield Bench(kubeconfig, cluster)
