"""Files of earlier formats are migrated completely, and work."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from kubecdc.storage.contracts import Gap, Inventoried, Replay, Replayable, SubscriptionSpec
from kubecdc.storage.sqlite.file import schema
from kubecdc.storage.sqlite.file.connection import rows
from kubecdc.storage.testing.actors import KEY, SOURCE, SUBJECT, Leader, Receiver, event, state
from tests.harness.other_program import other_program
from tests.storage.conftest import SqliteHarness

DATA = Path(__file__).parent.parent / "data" / "sqlite"
EARLIER = range(1, schema.VERSION)
LATER = 1_790_000_000.0  # after the claims of the files have lapsed


def restore(number: int, path: Path) -> None:
    """Write the file as a program of that format would."""
    with other_program(path) as db:
        db.execute((DATA / f"format-{number}.sql").read_text())
        db.pragma("journal_mode", "wal")
        assert db.pragma("user_version") == number


def structure(path: Path) -> list[tuple[str, ...]]:
    """Tables, indexes and triggers, without their white space."""
    with other_program(path) as db:
        found = rows(db, "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
        return [(*names, " ".join(sql.split())) for *names, sql in found]


@pytest.mark.parametrize("number", EARLIER)
async def test_all_of_an_earlier_format_is_there_and_works(number: int, harness: SqliteHarness) -> None:
    restore(number, harness.path)
    bus = await harness.on(lambda: LATER)
    audit, billing = await bus.subscriptions()
    assert (billing.spec, billing.pending) == (SubscriptionSpec("billing", SOURCE, SUBJECT), 4)
    assert (audit.spec.name, audit.pending, audit.dead_letters) == ("audit", 0, 1)
    (letter,) = await bus.dead_letters.page()
    assert (letter.subscription, letter.attempts, letter.reason) == ("audit", 1, "status 500 (Internal Server Error)")
    assert (letter.event, letter.partitionkey) == (event(1).id, event(1).partitionkey)
    assert await bus.dead_letters.letter(letter.id) == (letter, event(1).encode())

    assert await bus.replayable(Replay(subscription="audit")) == Replayable(5, None)

    assert await bus.checkpoints.gaps(KEY) == [Gap("history expired", "3", "4", "2026-05-28T20:26:40Z", 1)]
    assert await bus.checkpoints.inventory(KEY) == {
        "uid-a": Inventoried("4", "default", "a", True),
        "uid-c": Inventoried("5", "default", "c", False),
    }
    assert await bus.checkpoints.bodies(KEY, ["uid-a", "uid-c"]) == {}
    async with bus.elector.lead() as term:
        assert term.number > 1
        leader = await Leader.take(bus, term=term.number)
        (checkpoint,) = await bus.checkpoints.checkpoints()
        assert (checkpoint.number, checkpoint.state) == (2, state(2))
        known = Inventoried("6", "default", "a", True)
        await leader.send(leader.batch([event(6)], upserts={"uid-a": known}, bodies={"uid-a": b"{}"}))
    assert await bus.checkpoints.bodies(KEY, ["uid-a"]) == {"uid-a": b"{}"}

    async with Receiver.of(bus, "billing", prefetch=2) as receiver:
        first, other = await receiver.next(), await receiver.next()
        assert {first.event.id: first.attempt, other.event.id: other.attempt} == {
            event(1).id: 2,
            event(5, "c").id: 1,
        }
        await first.nack(timedelta(0))
        await other.ack()
        assert await receiver.acked(4) == [event(n).id for n in (1, 2, 4, 6)]


@pytest.mark.parametrize(("gone", "left"), [(1, 2), (3, 0)])
async def test_of_an_earlier_file_only_what_is_surely_whole_is_replayed(
    gone: int, left: int, harness: SqliteHarness
) -> None:
    restore(1, harness.path)
    with other_program(harness.path) as db:
        db.execute("UPDATE events SET committed = committed + seq; DELETE FROM events WHERE seq = ?", (gone,))
    bus = await harness.sqlite()
    assert (await bus.replayable(Replay(subscription="audit"))).events == left


@pytest.mark.parametrize("number", EARLIER)
async def test_a_migrated_file_is_like_a_new_one(number: int, harness: SqliteHarness, tmp_path: Path) -> None:
    restore(number, harness.path)
    await (await harness.sqlite()).close()
    new = SqliteHarness(tmp_path / "new.db")
    await (await new.sqlite()).close()
    assert structure(harness.path) == structure(new.path)


async def test_processes_that_migrate_at_once_do_not_meet(harness: SqliteHarness) -> None:
    restore(1, harness.path)
    buses = await asyncio.gather(*(harness.sqlite(holder=f"holder {n}") for n in range(6)))
    assert [len(await bus.subscriptions()) for bus in buses] == [2] * 6


async def test_a_migration_that_fails_changes_nothing(harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(1, harness.path)
    before = structure(harness.path)
    monkeypatch.setattr(
        schema, "FORMATS", (*schema.FORMATS[:-1], schema.FORMATS[-1] + "INSERT INTO nowhere VALUES (1);")
    )
    with pytest.raises(apsw.SQLError):
        await harness.sqlite()
    assert structure(harness.path) == before
    monkeypatch.undo()
    assert len(await (await harness.sqlite()).subscriptions()) == 2


async def test_a_program_of_format_1_that_is_running_goes_on_and_leaves_nothing_stale(harness: SqliteHarness) -> None:
    restore(1, harness.path)
    upsert = (
        "INSERT OR REPLACE INTO inventory (key, uid, resource_version, namespace, name, passed)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    )
    put_aside = (
        "INSERT INTO dead_letters (subscription, body, reason, attempts, first, last)"
        " SELECT s.name, b.body, ?, ?, e.committed, ? FROM deliveries AS d"
        " JOIN subscriptions AS s ON s.id = d.subscription JOIN events AS e ON e.seq = d.seq"
        " JOIN bodies AS b ON b.seq = d.seq WHERE d.seq = ?"
    )
    with other_program(harness.path) as old:
        rows(old, upsert, (KEY, "uid-b", "3", "default", "b", 1))  # the statement is prepared before the migration

        bus = await harness.sqlite()
        leader = await Leader.take(bus, term=2)
        known = Inventoried("6", "default", "a", True)
        kept = dict.fromkeys(("uid-a", "uid-b", "uid-c"), known)
        await leader.send(leader.batch(upserts=kept, bodies=dict.fromkeys(kept, b"{}")))

        rows(old, upsert, (KEY, "uid-a", "7", "default", "a", 1))
        rows(old, "DELETE FROM inventory WHERE key = ? AND uid = ?", (KEY, "uid-b"))
        rows(old, put_aside, ("no", 1, LATER, 2))
    assert await bus.checkpoints.bodies(KEY, ["uid-a", "uid-b", "uid-c"]) == {"uid-c": b"{}"}
    named = [(letter.event, letter.partitionkey) for letter in await bus.dead_letters.page()]
    assert named == [(event(n).id, event(n).partitionkey) for n in (1, 2)]
