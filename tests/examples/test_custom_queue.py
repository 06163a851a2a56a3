"""The example of a queue passes the suite of the contracts, together with a checkpoint store that is not its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from kubecdc_spool.queue import CAPABILITIES
from kubecdc_spool.queue_type import Spool, SpoolType

from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.contracts.types import BusSettings, ClusterAccess, Opening
from kubecdc.storage.installed import store_types
from kubecdc.storage.testing import CASES, Case

SQLITE = store_types().types["sqlite"]


def no_cluster() -> ClusterAccess:
    def connect() -> None:
        raise AssertionError("no cluster is needed")

    return ClusterAccess(connect)  # type: ignore[arg-type]


@dataclass
class Harness:
    """A spool, and a file for the checkpoint beside it."""

    folder: Path
    stack: AsyncExitStack
    capabilities: Capabilities = CAPABILITIES
    short: timedelta = timedelta(milliseconds=500)

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        opening = Opening(holder, no_cluster())
        settings = BusSettings("default", ack_wait=ack_wait, max_pending=max_pending)
        queue = await SpoolType().open(Spool(path=str(self.folder / "spool")), settings, opening)
        store = await SQLITE.open(
            SQLITE.model.model_validate({"path": str(self.folder / "checkpoint.db")}), "default", opening
        )
        bus = ComposedBus(queue, store)
        self.stack.push_async_callback(bus.close)
        return bus


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack:
        yield Harness(tmp_path, stack)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_spool(case: Case, harness: Harness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the queue lacks the capability {excuse}")
    await case.run(harness)
