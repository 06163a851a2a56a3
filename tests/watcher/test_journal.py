"""Commits that are prepared before the one they follow is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubecdc.storage.contracts import Bus, Inventoried, Term
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.watcher.capture.checkpoint_writer import Journal
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.ongoing_problems import Notices
from tests.watcher.rig import KEY, NAME, SOURCE, event_source

KNOWN = Inventoried("7", "default", "a", True)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    bus: Bus = await open_bus(SqliteSettings(tmp_path / "bus.db"), holder="the test")
    yield bus
    await bus.close()


async def opened(bus: Bus, term: int) -> Journal:
    manifest = event_source().spec.resource[NAME]
    entry = Entry(SOURCE, NAME, manifest, namespace="", key=KEY, max_event_bytes=1 << 20)
    return await Journal.open(entry, bus, Term(term, "test"), Notices(), cluster="c")


async def test_what_is_prepared_follows_what_was_prepared_before(bus: Bus) -> None:
    journal = await opened(bus, 1)
    await journal.commit(position="10", listing="")
    first = journal.prepare(position="11", upserts={"uid-a": KNOWN})
    second = journal.prepare(timeline=3)
    assert journal.state.position == "10", "nothing of it is made yet"
    await journal.make(first)
    assert (journal.state.position, journal.state.timeline) == ("11", 0)
    await journal.make(second)
    await journal.commit(position="12")
    again = await opened(bus, 2)
    assert (again.number, again.state) == (journal.number, journal.state)
    assert (again.state.position, again.state.timeline) == ("12", 3)
    assert await again.inventory() == {"uid-a": KNOWN}


async def test_what_is_prepared_is_made_in_that_order_or_not_at_all(bus: Bus) -> None:
    journal = await opened(bus, 1)
    await journal.commit(position="10", listing="")
    first, second = journal.prepare(position="11"), journal.prepare(position="12")
    with pytest.raises(CommitMismatch):
        await journal.make(second)
    again = await opened(bus, 2)
    assert again.state.position == "10"
    assert first.delta.follows + 1 == second.delta.follows


async def test_what_is_assumed_is_stored_by_the_next_commit(bus: Bus) -> None:
    journal = await opened(bus, 1)
    await journal.commit(position="10", listing="")
    journal.assume(timeline=2)
    assert (await opened(bus, 1)).state.timeline == 0
    await journal.commit(listing="backwards")
    assert journal.state.timeline == (await opened(bus, 2)).state.timeline == 2
