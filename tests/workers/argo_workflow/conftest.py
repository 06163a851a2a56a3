from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apiserver import LocalSimulator, simulator
from tests.workers.argo_workflow.rig import WorkflowBench, bench


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator(namespaces=["default", "other"]) as api:
        yield api


@pytest.fixture
async def it(api: LocalSimulator, tmp_path: Path) -> AsyncIterator[WorkflowBench]:
    async with bench(api.kubeconfig(tmp_path / "kubeconfig")) as made:
        yield made
