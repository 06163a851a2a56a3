from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kubecdc import nesting
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import SqliteBus
from tests.workers.pod import Pod


@pytest.fixture
def as_in_a_process() -> Iterator[None]:
    """Events are read as deep as the commands read them."""
    before = sys.getrecursionlimit()
    nesting.allow()
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(Mounts(tmp_path / "secrets", tmp_path / "config"))


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    opened = await open_bus(SqliteSettings(tmp_path / "bus.db"), holder="w")
    yield opened
    await opened.close()
