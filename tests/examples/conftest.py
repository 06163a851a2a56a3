from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.apiserver import ApiServer, RealApiServer, require_assets, simulator
from tests.apiserver.real import started
from tests.cli.conftest import alice, api, desk, redis_url
from tests.examples.stage import HOME

__all__ = ["alice", "api", "desk", "redis_url"]


@pytest.fixture(scope="module")
def full_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApiServer]:
    """One with its controllers, for the tests of a file."""
    require_assets()
    with started(tmp_path_factory.mktemp("real"), HOME) as server:
        yield server


@pytest.fixture(params=["simulator", "real"])
def real_server(request: pytest.FixtureRequest) -> RealApiServer | None:
    """None stands for the simulator."""
    if request.param == "simulator":
        return None
    found: RealApiServer = request.getfixturevalue("full_kubernetes")
    return found


@pytest.fixture
async def server(real_server: RealApiServer | None) -> AsyncIterator[ApiServer]:
    """An API server that allows only what a role grants: the simulator, and the full Kubernetes."""
    if real_server is None:
        async with simulator(rbac=True, namespaces=["default", HOME]) as simulated:
            yield simulated
        return
    yield real_server
    await real_server.close()  # its connections belong to this event loop
