from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apiserver import LocalSimulator, simulator
from tests.watcher.rig import Rig, rig


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator() as server:
        yield server


@pytest.fixture
async def bench(api: LocalSimulator, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(api, tmp_path) as made:
        yield made
