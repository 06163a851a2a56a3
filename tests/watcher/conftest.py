from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubecdc.backoff import Backoff
from kubecdc.watcher import recovery
from kubecdc.watcher.capture import checkpoint_writer, diff, pages
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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, and pages of two objects, so that a list is many commits."""
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(checkpoint_writer, "BLOCKED", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(pages, "PAGE_OBJECTS", (2, 2))
    monkeypatch.setattr(diff, "COMMIT_OBJECTS", 2)
