"""Commits that are prepared before the one they follow is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from kubecdc.storage.contracts import Bus, Inventoried, Term
from kubecdc.storage.contracts.errors import CommitMismatch, Locked
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.session import Session
from tests.storage.keys import OLD, KeyFolder
from tests.watcher.rig import KEY, NAME, SOURCE, event_source

KNOWN = Inventoried("7", "default", "a", True)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    bus: Bus = await open_bus(SqliteSettings(tmp_path / "bus.db"), holder="the test")
    yield bus
    await bus.close()


async def opened(bus: Bus, term: int, **fields: str) -> CheckpointWriter:
    manifest = event_source(**fields).spec.resource[NAME]
    entry = Entry(SOURCE, NAME, manifest, namespace="", key=KEY, max_event_bytes=1 << 20)
    return await CheckpointWriter.open(Session(cast(Any, None), bus, Term(term, "test")), entry, cluster="c")


async def test_what_is_prepared_follows_what_was_prepared_before(bus: Bus) -> None:
    writer = await opened(bus, 1)
    await writer.commit(position="10", listing="")
    first = writer.prepare(position="11", upserts={"uid-a": KNOWN})
    second = writer.prepare(timeline=3)
    assert writer.state.position == "10", "nothing of it is made yet"
    await writer.commit_prepared(first)
    assert (writer.state.position, writer.state.timeline) == ("11", 0)
    await writer.commit_prepared(second)
    await writer.commit(position="12")
    again = await opened(bus, 2)
    assert (again.number, again.state) == (writer.number, writer.state)
    assert (again.state.position, again.state.timeline) == ("12", 3)
    assert await again.inventory() == {"uid-a": KNOWN}


async def test_what_is_prepared_is_made_in_that_order_or_not_at_all(bus: Bus) -> None:
    writer = await opened(bus, 1)
    await writer.commit(position="10", listing="")
    first, second = writer.prepare(position="11"), writer.prepare(position="12")
    with pytest.raises(CommitMismatch):
        await writer.commit_prepared(second)
    again = await opened(bus, 2)
    assert again.state.position == "10"
    assert first.delta.follows + 1 == second.delta.follows


async def test_a_state_that_is_overridden_is_stored_by_the_next_commit(bus: Bus) -> None:
    writer = await opened(bus, 1)
    await writer.commit(position="10", listing="")
    writer.override_state(timeline=2)
    assert (await opened(bus, 1)).state.timeline == 0
    await writer.commit(listing="backwards")
    assert writer.state.timeline == (await opened(bus, 2)).state.timeline == 2


async def test_a_body_that_is_encrypted_is_not_taken_for_one_when_encryption_is_off(bus: Bus, tmp_path: Path) -> None:
    async with KeyFolder(tmp_path / "secrets").write(OLD).kept(OLD) as ring:
        writer = await opened(EncryptedBus(bus, ring), 1, inventory="objects")
        await writer.commit(position="10", upserts={"uid-a": KNOWN}, bodies={"uid-a": b"{}"})
        assert await writer.bodies(["uid-a"]) == {"uid-a": b"{}"}
    writer = await opened(bus, 2, inventory="objects")
    with pytest.raises(Locked, match="is not here: the EventBus has no `encryption`"):
        await writer.bodies(["uid-a"])
