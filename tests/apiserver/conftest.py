"""Every API server to test on, one after another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apiserver import ApiServer, LocalSimulator, RealApiServer, SimulatorProcess, require_assets


@pytest.fixture(params=["local", "process", "real"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ApiServer]:
    started: LocalSimulator | SimulatorProcess | RealApiServer
    if request.param == "local":
        started = LocalSimulator(initializing=0.1, rbac=True)
    elif request.param == "process":
        started = SimulatorProcess(tmp_path / "simulator", "--initializing", "0.1", "--rbac")
    else:
        require_assets()
        started = RealApiServer(tmp_path / "real")
    await started.start()
    try:
        yield started
    finally:
        await started.stop()
