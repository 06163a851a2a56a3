from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.apiserver import RealApiServer, require_assets
from tests.apiserver.real import started
from tests.deploy.cluster import Cluster
from tests.harness.kubelet import kubelet, require_own_mounts

NAMESPACE = "kubecdc"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApiServer]:
    """A real API server of these tests, with controllers and Pod Security, and without a node."""
    if not (require_assets() / "kube-controller-manager").is_file():
        pytest.skip("KUBEBUILDER_ASSETS does not hold kube-controller-manager")
    with started(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
async def cluster(server: RealApiServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    """It, with a node that runs the pods of the namespace kubecdc; without that namespace at the end."""
    require_own_mounts(tmp_path / "tried")
    try:
        async with kubelet(server, tmp_path / "node", NAMESPACE) as node:
            cluster = Cluster(server, node, tmp_path)
            yield cluster
            await cluster.clear(NAMESPACE)
    finally:
        await server.close()
