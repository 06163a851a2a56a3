"""Candidates of one Lease on a simulated API server, and what may befall them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.storage.contracts import Bus, Term
from kubecdc.watcher.election.clock import SystemClock, Timing
from kubecdc.watcher.election.elector import LeaseElector
from kubecdc.watcher.election.lease import ClusterLeaseClient, Lease, LeaseClient
from kubecdc.watcher.election.settings import LeaseSettings
from tests.apiserver import LEASES, LocalSimulator, RequestFailed

Cutting = Literal["", "fails", "hangs", "hangs without end", "loses replies to writes"]
QUICK = LeaseSettings(
    duration=timedelta(seconds=2), renew_deadline=timedelta(seconds=1), retry_period=timedelta(seconds=0.1)
)


class Early(SystemClock):
    """By this clock, it is before 2020: terms are counted from 1."""

    def wall(self) -> datetime:
        return super().wall() - timedelta(days=20_000)


class Booth:
    """Candidates of one Lease, each with a connection of its own, and the bus whose checkpoints they ask."""

    def __init__(self, api: LocalSimulator, bus: Bus, kubeconfig: Path) -> None:
        self.api = api
        self.bus = bus
        self.kubeconfig = kubeconfig

    @asynccontextmanager
    async def candidate(self, holder: str, **more: Any) -> AsyncIterator[LeaseElector]:
        async with Cluster(str(self.kubeconfig)) as cluster:
            settings = more.pop("settings", QUICK)
            more.setdefault("timing", Timing(Early()))
            client = ClusterLeaseClient(cluster, settings.namespace, settings.name)
            yield LeaseElector(client, self.bus.checkpoints, settings, holder=holder, **more)

    async def lease(self) -> dict[str, Any]:
        return await self.api.get(*LEASES, "default", "kubecdc")

    async def commit(self, term: int) -> None:
        """A checkpoint of that term."""
        await self.bus.checkpoints.acquire("workflows/changed", Term(term, "test"))


async def put(booth: Booth, holder: str, *, duration: int, stamp: str, transitions: int) -> None:
    """The Lease as another program wrote it."""
    try:
        metadata = (await booth.lease())["metadata"]
    except RequestFailed:
        metadata = {"name": "kubecdc"}
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": duration,
        "acquireTime": stamp,
        "renewTime": stamp,
        "leaseTransitions": transitions,
    }
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    if "uid" in metadata:
        await booth.api.update(*LEASES, "default", body)
    else:
        await booth.api.create(*LEASES, "default", body)


class Cut:
    """`watcher.election.lease.LeaseClient` that can be cut off: ``fault`` is how, "" for not."""

    def __init__(self, inner: LeaseClient) -> None:
        self.inner = inner
        self.fault: Cutting = ""

    async def get(self, *, seconds: float) -> Lease | None:
        await self._suffer(seconds)
        return await self.inner.get(seconds=seconds)

    async def create(self, document: dict[str, Any], *, seconds: float) -> Lease:
        await self._suffer(seconds)
        return self._replied(await self.inner.create(document, seconds=seconds))

    async def update(self, document: dict[str, Any], *, seconds: float) -> Lease:
        await self._suffer(seconds)
        return self._replied(await self.inner.update(document, seconds=seconds))

    async def _suffer(self, seconds: float) -> None:
        if self.fault == "hangs":
            await asyncio.sleep(seconds)
        if self.fault == "hangs without end":
            await asyncio.Event().wait()
        if self.fault and self.fault != "loses replies to writes":
            raise ApiError("it was commanded", status=503)

    def _replied(self, lease: Lease) -> Lease:
        if self.fault == "loses replies to writes":
            raise ApiError("it was commanded")
        return lease
