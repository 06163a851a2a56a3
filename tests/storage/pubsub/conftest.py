from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import Capabilities
from kubecdc.storage.pubsub import PubSubSettings, open_bus
from kubecdc.storage.pubsub.bus import CAPABILITIES, PubSubBus
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from tests.storage.pubsub.emulator import Emulator
from tests.storage.pubsub.fake import FakePubSub

PROJECT = "a-project"
SECOND, TEN_SECONDS = timedelta(seconds=1), timedelta(seconds=10)
_topics = itertools.count(1)


@dataclass
class PubSubHarness:
    """A topic for each test, and a file for the checkpoint."""

    folder: Path
    stack: AsyncExitStack
    settings: PubSubSettings
    short: timedelta = SECOND  # of the fake; of the service it would be ten seconds
    capabilities: Capabilities = field(
        default=ComposedBus.composed(CAPABILITIES, state=True, frequent=True, elector=True)
    )

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> ComposedBus:
        queue = await open_bus(replace(self.settings, ack_wait=ack_wait), holder=holder)
        store = await open_sqlite(SqliteSettings(self.folder / "checkpoint.db"), holder=holder)
        bus = ComposedBus(queue, store)
        self.stack.push_async_callback(bus.close)
        return bus

    async def queue(self, holder: str = "one", **other: object) -> PubSubBus:
        """The queue alone."""
        queue = await open_bus(replace(self.settings, **other), holder=holder)  # type: ignore[arg-type]
        self.stack.push_async_callback(queue.close)
        return queue


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakePubSub]:
    async with FakePubSub(least_ack=1, pull_wait=0.3) as fake:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", fake.address)
        yield fake


@pytest.fixture
async def harness(fake: FakePubSub, tmp_path: Path) -> AsyncIterator[PubSubHarness]:
    settings = PubSubSettings(PROJECT, f"topic-{next(_topics)}", least_ack_wait=SECOND)
    async with AsyncExitStack() as stack:
        yield PubSubHarness(tmp_path, stack, settings)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = Emulator.started(tmp_path_factory.mktemp("pubsub-emulator"))
    yield emulator
    emulator.stop()


@pytest.fixture
async def emulator_harness(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[PubSubHarness]:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", emulator.address)
    retention = timedelta(0)  # it gives a new subscription what its topic retains; the service does so by a seek only
    settings = PubSubSettings(PROJECT, f"topic-{next(_topics)}", retention=retention, pull_seconds=1.5)
    async with AsyncExitStack() as stack:
        yield PubSubHarness(tmp_path, stack, settings, short=TEN_SECONDS)
