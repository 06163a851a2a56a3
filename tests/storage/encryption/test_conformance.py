"""The suite that every back end passes, with encryption around it: on SQLite, and what is short of it on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.testing import CASES, Case, Harness
from tests.storage.conftest import RedisHarness, SqliteHarness
from tests.storage.keys import NEW, OLD, KeyFolder
from tests.storage.test_conformance import SHORT


@dataclass
class EncryptedHarness:
    """The bus of another harness, with two keys."""

    inner: Harness
    folder: KeyFolder
    stack: AsyncExitStack

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @property
    def short(self) -> timedelta:
        return self.inner.short

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        bus = await self.inner.open(holder, ack_wait=ack_wait, max_pending=max_pending)
        return EncryptedBus(bus, await self.stack.enter_async_context(self.folder.kept(NEW, OLD)))


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[KeyFolder, AsyncExitStack]]:
    async with AsyncExitStack() as stack:
        yield KeyFolder(tmp_path / "secrets").write(NEW, OLD), stack


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_sqlite(case: Case, harness: SqliteHarness, opened: tuple[KeyFolder, AsyncExitStack]) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(EncryptedHarness(harness, *opened))


@pytest.mark.parametrize("name", SHORT)
async def test_redis(name: str, redis_harness: RedisHarness, opened: tuple[KeyFolder, AsyncExitStack]) -> None:
    await next(case for case in CASES if case.name == name).run(EncryptedHarness(redis_harness, *opened))
