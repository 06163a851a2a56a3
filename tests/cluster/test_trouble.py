"""Errors of the API server: counted by status, and told apart for the readiness of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubecdc.cluster import connection
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from tests.apiserver import LocalSimulator, simulator
from tests.exported import REGISTRY

PATH = "/api/v1/namespaces"


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator() as server:
        yield server


def counted(status: int) -> float:
    return REGISTRY.get_sample_value("kubecdc_api_errors_total", {"status": str(status)}) or 0.0


async def refused(cluster: Cluster) -> None:
    with pytest.raises(ApiError):
        await cluster.get(PATH)


@pytest.mark.parametrize(("status", "is_trouble"), [(500, True), (503, True), (401, True), (403, False), (404, False)])
async def test_each_refusal_counts_once_and_only_some_are_trouble(
    api: LocalSimulator, tmp_path: Path, status: int, is_trouble: bool
) -> None:
    async with Cluster(str(api.kubeconfig(tmp_path / "kubeconfig"))) as cluster:
        await cluster.get(PATH)
        before = counted(status)
        api.fail(status, path="namespaces")
        await refused(cluster)
        assert counted(status) == before + 1
        assert bool(cluster.trouble) == is_trouble
        api.faults.failures.clear()
        await cluster.get(PATH)
        assert cluster.trouble == ""


async def test_a_server_that_is_not_reached_or_silent_is_trouble_for_a_while(
    api: LocalSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cluster(str(api.kubeconfig(tmp_path / "kubeconfig"))) as cluster:
        before = counted(0)
        api.silence()
        with pytest.raises(ApiError, match="no answer in time"):
            await cluster.get(PATH, seconds=0.1)
        assert "no answer in time" in cluster.trouble
        api.silence(False)
        await api.simulator.stop()
        await refused(cluster)
        assert "cannot be reached" in cluster.trouble
        assert counted(0) == before + 2
        monkeypatch.setattr(connection, "TROUBLE_SECONDS", 0.0)
        assert cluster.trouble == "", "it may be long until the next request"
