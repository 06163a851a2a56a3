"""Heartbeats and notifications of a process."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
import structlog

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.deliveries import presence
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, known, until
from tests.clock import Clock
from tests.storage.conftest import SqliteHarness

SUB = SubscriptionSpec("billing", SOURCE, SUBJECT)


async def seen(bus: SqliteBus) -> dict[str, float]:
    return {worker.holder: worker.seen for worker in known((await bus.subscriptions())[0].workers)}


async def test_a_worker_is_seen_as_long_as_it_says_so(harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "HEARTBEAT", 0.01)
    clock = Clock()
    bus = await harness.on(clock)
    await bus.register([SUB])

    async def seen_at(time: float) -> bool:
        return await seen(bus) == {"one": time}

    async with Receiver.of(bus, "billing"):
        await until(lambda: seen_at(1_000_000.0))
        clock.now += 10
        await until(lambda: seen_at(1_000_010.0))


async def test_a_worker_that_was_killed_is_forgotten(harness: SqliteHarness) -> None:
    clock = Clock()
    bus = await harness.on(clock)
    await bus.register([SUB])
    await bus._writer.submit(lambda db: db.execute("INSERT INTO workers VALUES ('billing', 'killed', 1000000)"))
    assert await seen(bus) == {"killed": 1_000_000.0}
    clock.now += 31
    assert await seen(bus) == {}


async def test_a_subscription_that_is_not_registered_is_waited_for_and_named_once(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    with structlog.testing.capture_logs() as logs:
        async with Receiver.of(bus, "billing") as receiver:
            await receiver.nothing(0.3)
            await bus.register([SUB])
            await (await Leader.take(bus)).commit(event(1))
            assert await receiver.acked(1) == [event(1).id]
    (said,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert "billing" in said["error"]
    assert said["hint"]


async def test_standing_by_is_said_once_and_for_whom(harness: SqliteHarness) -> None:
    one, other = await harness.sqlite(holder="one"), await harness.sqlite(holder="other")
    with structlog.testing.capture_logs() as logs:
        async with one.elector.lead():
            waiting = asyncio.create_task(other.elector.lead().__aenter__())
            await asyncio.sleep(0.35)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    assert [(entry["event"], entry.get("leader")) for entry in logs] == [("leading", None), ("standing by", "one")]


async def test_a_link_to_the_file_elects_with_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "bus.db")
    assert SqliteSettings(tmp_path / "link.db").lock_path == SqliteSettings(tmp_path / "bus.db").lock_path


async def test_who_cannot_open_the_lock_says_so_and_leads_later(
    harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await harness.sqlite()
    opened = os.open
    full = True

    def open_(path: str | Path, *args: int) -> int:
        if full and Path(path).suffix == ".leader":
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *args)

    monkeypatch.setattr(os, "open", open_)
    with structlog.testing.capture_logs() as logs:
        lead = bus.elector.lead()
        leading = asyncio.create_task(lead.__aenter__())
        await until(lambda: answer(bool(logs)))
        full = False
        await leading
        await lead.__aexit__(None, None, None)
    (said,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert said["error"].endswith(".leader: Too many open files")


async def answer(value: bool) -> bool:
    return value
