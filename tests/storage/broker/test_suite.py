"""The conformance suite on a broker in memory, with order and without, and however the broker delays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.sqlite.manifest import SqliteCheckpoint
from kubecdc.storage.sqlite.store import SqliteStore
from kubecdc.storage.testing import CASES, Case
from tests.storage.broker.memory import Broker, MemoryQueue
from tests.storage.stores import opening


@dataclass
class MemoryHarness:
    """Events in memory, all else in a file."""

    path: Path
    broker: Broker
    stack: AsyncExitStack
    short: timedelta = timedelta(milliseconds=500)
    queues: list[MemoryQueue] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return ComposedBus.composed(MemoryQueue(self.broker).capabilities, state=True, frequent=True, elector=True)

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        store = await SqliteStore().open(SqliteCheckpoint(path=str(self.path)), "default", opening(holder))
        self.queues.append(MemoryQueue(self.broker, holder, ack_wait))
        bus = ComposedBus(self.queues[-1], store)
        self.stack.push_async_callback(bus.close)
        return bus


@pytest.fixture(params=["fifo", "fifo, delays", "standard", "standard, delays"])
async def memory(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[MemoryHarness]:
    broker = Broker(fifo="fifo" in request.param, longest_delay=43200.0 if "delays" in request.param else 0.0)
    async with AsyncExitStack() as stack:
        yield MemoryHarness(tmp_path / "store.db", broker, stack)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_broker(case: Case, memory: MemoryHarness) -> None:
    if excuse := case.excuse(memory.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(memory)
