"""What one transaction or look does is bounded, however much there is in the file: others write and read it too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import apsw
import pytest

from kubecdc.storage.contracts import Publication, Replay, SubscriptionSpec
from kubecdc.storage.sqlite import bus as sqlite_bus
from kubecdc.storage.sqlite.administration import replays
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event, until
from tests.storage.conftest import SqliteHarness


async def commit(bus: SqliteBus, count: int, *, source: str = SOURCE) -> None:
    for begin in range(0, count, 100):
        some = [event(n, f"o-{n}", source=source) for n in range(begin, begin + 100)]
        await bus.publisher.publish(Publication(some))


async def test_the_steps_of_a_replay_do_not_grow(harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_bus, "STEP", 50)
    bus = await harness.sqlite()
    await bus.register([SubscriptionSpec("billing", SOURCE, SUBJECT)])
    await commit(bus, 1000)
    steps: list[int] = []  # of SQLite's machine, in tens
    copy: Callable[..., Any] = replays.copy

    def counted(db: apsw.Connection, **args: Any) -> Any:
        steps.append(0)

        def ten_more() -> bool:
            steps[-1] += 1
            return False

        db.set_progress_handler(ten_more, 10)
        try:
            return copy(db, **args)
        finally:
            db.set_progress_handler(None)

    monkeypatch.setattr(replays, "copy", counted)
    async with Receiver.of(bus, "billing", prefetch=64) as receiver:
        await receiver.acked(1000)
        assert await bus.replay(Replay(subscription="billing")) == 1000
        assert len(steps) == 20
        assert steps[0] > 100, "else it measures nothing"
        assert max(steps[10:]) < 1.3 * max(steps[:4])
        assert len(set(await receiver.acked(1000))) == 1000


@pytest.mark.parametrize("committed_by", ["this process", "another"])
async def test_a_commit_wakes_those_that_want_it(
    committed_by: str, harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    next_due = lanes.next_due

    def noted(db: apsw.Connection, name: str) -> float | None:
        looked.append(name)
        return next_due(db, name)

    monkeypatch.setattr(lanes, "next_due", noted)
    monkeypatch.setattr("kubecdc.storage.sqlite.deliveries.subscription.CHECK", 3600.0)
    bus = await harness.sqlite()
    leader = bus if committed_by == "this process" else await harness.sqlite(holder="two")
    await bus.register([SubscriptionSpec(f"s-{number}", f"source-{number}", SUBJECT) for number in range(20)])

    async def consume(name: str) -> None:
        async with Receiver.of(bus, name, prefetch=64):
            await asyncio.Event().wait()

    others = [asyncio.create_task(consume(f"s-{number}")) for number in range(1, 20)]

    async def all_wait() -> bool:
        return len(set(looked)) == len(others)

    await until(all_wait)
    async with Receiver.of(bus, "s-0", prefetch=64) as receiver:
        looked.clear()
        await commit(leader, 500, source="source-0")
        assert len(set(await receiver.acked(500))) == 500
        assert set(looked) == {"s-0"}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
