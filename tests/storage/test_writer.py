"""Group commit: operations share a transaction, but not their errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.file import connection
from kubecdc.storage.sqlite.file.connection import row
from kubecdc.storage.testing.actors import DEADLINE, KEY, SOURCE, SUBJECT, Leader, Receiver, event, pending, until
from tests.harness.other_program import locked
from tests.storage.conftest import SqliteHarness

SUB = SubscriptionSpec("billing", SOURCE, SUBJECT)


@asynccontextmanager
async def writer_held(bus: SqliteBus) -> AsyncIterator[None]:
    """What is submitted during the block becomes one group after it."""
    entered, go = threading.Event(), threading.Event()

    def hold(db: apsw.Connection) -> None:
        entered.set()
        go.wait(DEADLINE)

    bus._writer.post(hold)
    await asyncio.to_thread(entered.wait, DEADLINE)
    try:
        yield
    finally:
        go.set()


async def grouped(bus: SqliteBus, submit: Callable[[], list[asyncio.Task[None]]]) -> list[BaseException | None]:
    """The ends of tasks whose operations share a group."""
    async with writer_held(bus):
        tasks = submit()
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_that_fails_does_not_spoil_its_group(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    leaders = [await Leader.take(bus, key=f"key-{number}") for number in range(4)]
    leaders[2].number = 99
    commits = 0

    def counted() -> bool:
        nonlocal commits
        commits += 1
        return False

    await bus._writer.submit(lambda db: db.set_commit_hook(counted))
    ends = await grouped(
        bus, lambda: [asyncio.create_task(leader.commit(event(n))) for n, leader in enumerate(leaders)]
    )
    assert [type(end) for end in ends] == [type(None), type(None), CommitMismatch, type(None)]
    assert await pending(bus, "billing") == 3
    assert commits <= 3, "the hook's own transaction, the one that held the writer, and one for all four"


async def test_when_the_commit_fails_nobody_is_told_otherwise(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    leaders = [await Leader.take(bus, key=f"key-{number}") for number in range(3)]
    batches = [leader.batch([event(n)]) for n, leader in enumerate(leaders)]

    def submit() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(leader.send(batch)) for leader, batch in zip(leaders, batches, strict=True)]

    def failing_commits(db: apsw.Connection) -> None:
        def refuse() -> bool:
            raise apsw.FullError("no space left for the log")

        db.set_commit_hook(refuse)

    bus._writer.post(failing_commits)
    ends = await grouped(bus, submit)
    assert [type(end) for end in ends] == [Unavailable] * 3
    assert await pending(bus, "billing") == 0
    await bus._writer.submit(lambda db: db.set_commit_hook(None))
    await asyncio.gather(*submit())
    assert await pending(bus, "billing") == 3


async def test_a_caller_that_is_cancelled_during_its_commit_harms_nobody(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    batch = leader.batch([event(1)])

    def submit() -> list[asyncio.Task[None]]:
        task = asyncio.create_task(leader.send(batch))
        asyncio.get_running_loop().call_soon(task.cancel)
        return [task]

    (end,) = await grouped(bus, submit)
    assert isinstance(end, asyncio.CancelledError)
    await leader.send(batch)  # it had happened, and the token says so
    assert await pending(bus, "billing") == 1
    assert (await bus.checkpoints.acquire(KEY, leader.term)).number == 1


async def test_a_receiver_that_is_cancelled_while_it_claims_holds_nothing(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(*(event(n, f"object-{n}") for n in range(5)))

    async def claim_queued() -> bool:
        return bus._writer._queue.qsize() == 2  # its presence, and the claim

    async with writer_held(bus):
        deliveries = bus.subscription("billing", prefetch=5).deliveries()
        receiving = asyncio.ensure_future(anext(deliveries))
        await until(claim_queued)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
    claims = "SELECT count(*) FROM deliveries WHERE received != 0 OR token IS NOT NULL"
    assert await bus._writer.submit(lambda db: row(db, claims)) == (0,)


async def test_a_lock_held_by_another_process_is_waited_for(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    with locked(harness.path):
        registering = asyncio.create_task(bus.register([SUB]))
        await asyncio.sleep(0.05)
        assert not registering.done()
    await registering


async def test_a_lock_held_for_too_long_is_unavailable_and_passes(
    harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_DEADLINE", 0.05)
    bus = await harness.sqlite()
    with locked(harness.path):
        with pytest.raises(Unavailable, match="locked"):
            await bus.register([SUB])
        assert await bus.subscriptions() == [], "reading does not wait for a writer"
    await bus.register([SUB])


async def test_a_full_disk_blocks_and_loses_nothing(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(*(event(number, f"object-{number}", padding=6000) for number in range(20)))
    await bus._writer.submit(lambda db: db.pragma("max_page_count", db.pragma("page_count") + 2))
    batch = leader.batch([event(number, padding=6000) for number in range(100, 120)])
    with pytest.raises(Unavailable, match=r"disk .* is full"):
        await leader.send(batch)
    async with Receiver.of(bus, "billing", prefetch=20) as receiver:
        await receiver.acked(20)  # work goes on
        with pytest.raises(Unavailable, match=r"disk .* is full"):
            await leader.send(batch)
        await bus._writer.submit(lambda db: db.pragma("max_page_count", 1_000_000))
        await leader.send(batch)
        assert len(await receiver.acked(20)) == 20


async def test_a_full_disk_spoils_only_what_does_not_fit(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    big, small = await Leader.take(bus, key="big"), await Leader.take(bus, key="small")
    await bus._writer.submit(lambda db: db.pragma("max_page_count", db.pragma("page_count") + 8))
    ends = await grouped(
        bus,
        lambda: [
            asyncio.create_task(small.commit(event(1))),
            asyncio.create_task(big.commit(*(event(number, padding=6000) for number in range(100)))),
            asyncio.create_task(small_later(small)),
        ],
    )
    assert [type(end) for end in ends] == [type(None), Unavailable, type(None)]
    assert await pending(bus, "billing") == 2


async def small_later(leader: Leader) -> None:
    later = Leader(leader.bus, leader.number + 1, key=leader.key)
    await later.commit(event(2))


async def test_closing_finishes_what_was_submitted(tmp_path: Path, harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    batch = leader.batch([event(1)])
    commit = asyncio.create_task(leader.send(batch))
    await asyncio.sleep(0)
    await bus.close()
    await commit
    with pytest.raises(Unavailable, match="closed"):
        await leader.send(batch)
    assert await pending(await harness.sqlite(), "billing") == 1


async def test_deliveries_end_when_the_bus_is_closed(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])

    async def consume() -> int:
        return len([delivery async for delivery in bus.subscription("billing", prefetch=1).deliveries()])

    consuming = asyncio.create_task(consume())

    async def working() -> bool:
        return bool((await bus.subscriptions())[0].workers)

    await until(working)
    await bus.close()
    async with asyncio.timeout(DEADLINE):
        assert await consuming == 0
    reopened = await harness.sqlite(SqliteSettings(harness.path))
    assert (await reopened.subscriptions())[0].workers == ()
    assert await reopened._reader.submit(lambda db: row(db, "SELECT count(*) FROM workers")) == (0,)
