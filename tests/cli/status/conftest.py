from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apiserver import LocalSimulator, simulator
from tests.cli.status.site import Site, site


@pytest.fixture
async def simulated() -> AsyncIterator[LocalSimulator]:
    async with simulator() as made:
        yield made


@pytest.fixture
async def place(simulated: LocalSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with site(simulated, tmp_path, monkeypatch) as made:
        yield made
