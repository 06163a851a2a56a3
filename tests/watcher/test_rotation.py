"""The cluster's authority is replaced while a watcher runs: all that it asks the API server for goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kubecdc.backoff import Backoff
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.storage.configmap.cluster import ClusterConfigMaps
from kubecdc.watcher import recovery
from kubecdc.watcher.namespaces import selected
from tests.apiserver import NAMESPACES, LocalSimulator, simulator
from tests.apiserver.watch import WatchRules
from tests.watcher.booth import Booth
from tests.watcher.rig import Rig, event_source, rig, told


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.05, 1.0, 0.05, 0.0))
    monkeypatch.setattr(selected, "PAUSE_SECONDS", 0.01)
    tls = tmp_path / "tls"
    tls.mkdir()
    async with (
        simulator(tls=tls, tokens=["t"], rules=WatchRules(scale=0.1), initializing=0) as api,
        rig(api, tmp_path) as made,
    ):
        yield made


async def replace_authority(api: LocalSimulator) -> None:
    """Each new connection needs the new authority, and there are no old ones."""
    api.replace_authority()
    await api.restart()


async def test_watches_go_on(bench: Rig) -> None:
    await bench.start()
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]
    with capture_logs() as logs:
        await replace_authority(bench.api)
        await bench.create("b")
        assert told(await bench.events()) == ["~ADD b"]  # the server forgot its history
    failed = [line for line in logs if "certificate verify failed" in str(line["event"])]
    assert len(failed) == 1
    assert "certificate-authority" in failed[0]["hint"]


async def test_the_watch_of_the_namespaces_goes_on(bench: Rig) -> None:
    await bench.start(event_source(namespaceSelector={"matchLabels": {"env": "prod"}}))
    await bench.watching()  # the namespaces, and nothing else: none is selected
    await replace_authority(bench.api)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "one", "labels": {"env": "prod"}}}
    await bench.api.create(*NAMESPACES, "", body)
    await bench.create("a", namespace="one")
    assert told(await bench.events(namespace="one")) == ["ADD a"]


async def test_the_lease_is_kept(bench: Rig) -> None:
    booth = Booth(bench.api, await bench.open(), bench.kubeconfig)
    async with booth.candidate("one") as one, one.lead():
        await replace_authority(bench.api)
        renewed = (await booth.lease())["spec"]["renewTime"]
        async with asyncio.timeout(60):
            while (await booth.lease())["spec"]["renewTime"] == renewed:  # noqa: ASYNC110 - the condition is the server's
                await asyncio.sleep(0.02)
        assert one.trusted


async def test_a_config_map_is_written_on(bench: Rig) -> None:
    async with Cluster(str(bench.kubeconfig)) as cluster:
        store = ClusterConfigMaps(cluster, "default", "checkpoint")
        await store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, seconds=5)
        await replace_authority(bench.api)
        with pytest.raises(ApiError, match="certificate verify failed"):
            await store.get(seconds=5)
        assert b"checkpoint" in (await store.get(seconds=5) or b"")
