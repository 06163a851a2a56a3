"""The example of a queue passes the suite of the contracts, together with a checkpoint store that is not its own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from kubecdc_spool import Spool, SpoolQueue, SpoolType

from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import Bus, Capabilities, Publication, SubscriptionSpec
from kubecdc.storage.contracts.types import BusSettings, ClusterAccess, Opening
from kubecdc.storage.installed import store_types
from kubecdc.storage.testing import CASES, Case
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event

ROOT = Path(__file__).parents[2]
PAGE, MODULE = ROOT / "docs" / "write-a-queue.md", ROOT / "examples" / "custom-queue" / "kubecdc_spool.py"
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
    capabilities: Capabilities = SpoolQueue.capabilities
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


async def test_a_dead_letter_is_a_file_with_its_reason_beside_it(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SubscriptionSpec("print/line", SOURCE, SUBJECT)])
    await bus.publisher.publish(Publication([event(1)]))
    async with Receiver.of(bus, "print/line") as receiver:
        delivery = await receiver.next()
        await delivery.start()
        await delivery.dead_letter("HTTP 400")
        await delivery.dead_letter("HTTP 400")
    (status,) = await bus.subscriptions()
    assert (status.pending, status.dead_letters) == (0, 1)
    (letter,) = harness.folder.glob("spool/dead/print%2Fline/[0-9]*")
    _, _, attempts, _, _, token = letter.name.split(".")
    assert (letter.read_bytes(), attempts) == (event(1).encode(), "1")
    assert letter.with_name(f"reason.{token}").read_text() == "HTTP 400"


def test_the_page_shows_the_code_of_the_example() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shown = [line for block in blocks if "class Spool" in block for line in block.splitlines()]
    code = [_without_comment(line) for line in MODULE.read_text().splitlines()]
    assert len(shown) > 20
    assert [line for line in shown if _without_comment(line) not in code] == []


def _without_comment(line: str) -> str:
    return re.sub(r"  # .*", "", line).strip()
