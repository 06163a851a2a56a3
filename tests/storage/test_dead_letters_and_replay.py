"""Redriven and replayed events leave nothing behind, also if something happens meanwhile."""

from __future__ import annotations

from functools import partial

import pytest

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import ObjectName, Replay, Replayable, SubscriptionSpec
from kubecdc.storage.sqlite.administration import replays
from kubecdc.storage.sqlite.file.connection import row
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, pending
from tests.clock import Clock
from tests.storage.conftest import SqliteHarness

NAME = "billing"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)


async def test_a_copy_is_dropped_once_it_is_settled_and_the_event_stays(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(event(1), event(2))

    async def stored() -> tuple[int, int, int]:
        sql = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM bodies), settled_bytes FROM meta"
        found: tuple[int, int, int] = await bus._reader.submit(lambda db: row(db, sql))
        return found

    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(2)
        size = len(event(1).encode())
        assert await stored() == (2, 2, 2 * size)
        assert await bus.replay(Replay(subscription=NAME)) == 2
        assert await stored() == (4, 4, 2 * size)
        await receiver.acked(1)
        await (await receiver.next()).dead_letter("no")
        assert await stored() == (2, 2, 2 * size)
        (letter,) = await bus.dead_letters.page()
        assert await bus.dead_letters.redrive([letter.id]) == {}
        assert await stored() == (3, 3, 2 * size)
        await receiver.acked(1)
        assert await stored() == (2, 2, 2 * size)


async def test_what_is_committed_or_forgotten_during_a_replay_keeps_the_order(harness: SqliteHarness) -> None:
    clock = Clock()
    bus = await harness.on(clock)
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2, "b"))
    clock.now += 3600
    await leader.commit(event(3))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(3)
        found = await bus._reader.submit(lambda db: replays.find(db, Replay(subscription=NAME)))
        await leader.commit(event(4), event(5, "b"))
        clock.now += 24 * 3600 - 1800
        await bus.retention.enforce()
        steps = list(found.steps(1))
        assert [[key.rpartition("/")[2] for key, _ in step] for step in steps] == [["a"], ["b"]]
        for step, expected in zip(steps, (2, 1), strict=True):
            copy = partial(replays.copy, plan=found, step=step, now=clock.now)
            copied, newer = await bus._writer.submit(copy)
            assert copied == expected
            found.newer.add(newer)
        got = await receiver.acked(5)
        assert [id_ for id_ in got if "uid-a" in id_] == [event(number).id for number in (4, 3, 4)]
        assert [id_ for id_ in got if "uid-b" in id_] == [event(5, "b").id] * 2
    assert await pending(bus, NAME) == 0


async def test_where_retention_left_holes_nothing_is_replayed(harness: SqliteHarness) -> None:
    clock = Clock()
    bus = await harness.on(clock)
    await bus.register([SUB, SubscriptionSpec("slow", SOURCE, SUBJECT)])
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    await bus.register([SubscriptionSpec("slow", SOURCE, "another-entry")])
    clock.now += 60
    await leader.commit(event(2))
    clock.now += 24 * 3600
    await leader.commit(event(3, "b"))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(3)
        assert await bus.replayable(Replay(subscription=NAME)) == Replayable(3, None)
        clock.now += 1
        await bus.retention.enforce()
        assert await pending(bus, "slow") == 1, "so the first event is still there, unlike the second"
        assert await bus.replayable(Replay(subscription=NAME)) == Replayable(1, 1_000_060.0)
        with pytest.raises(UsageError, match="not retained"):
            await bus.replay(Replay(subscription=NAME, first=event(1).id))
        assert await bus.replay(Replay(subscription=NAME)) == 1
        assert await receiver.acked(1) == [event(3, "b").id]


async def test_a_letter_that_cannot_be_read_is_shown_but_not_redriven(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(event(1))
    await bus._writer.submit(lambda db: db.execute("UPDATE bodies SET body = CAST(x'7b2261ff' AS BLOB)"))
    async with Receiver.of(bus, NAME) as receiver:
        await (await receiver.next()).dead_letter("not a CloudEvent")
    (letter,) = await bus.dead_letters.page()
    assert (letter.event, letter.partitionkey) == ("", "")
    assert await bus.dead_letters.letter(letter.id) == (letter, b'{"a\xff')
    refused = await bus.dead_letters.redrive([letter.id])
    assert "cannot be read" in refused[letter.id]
    assert await bus.dead_letters.page() == [letter]
    assert await bus.dead_letters.purge([letter.id]) == 1


@pytest.mark.parametrize(
    ("partitionkey", "name", "matches"),
    [
        ("workflows.argoproj.io/default/a", ObjectName("default", "a"), True),
        ("workflows.argoproj.io/default/a", ObjectName("default", "a", "workflows"), True),
        ("workflows.argoproj.io/default/a", ObjectName("default", "a", "workflows.argoproj.io"), True),
        ("workflows.argoproj.io/default/a", ObjectName("default", "a", "workflow"), False),
        ("workflows.argoproj.io/default/a", ObjectName("default", "a", "pods"), False),
        ("workflows.argoproj.io/default/ab", ObjectName("default", "a"), False),
        ("workflows.argoproj.io/other/a", ObjectName("default", "a"), False),
        ("pods./default/a", ObjectName("default", "a", "pods"), True),
        ("nodes.//n1", ObjectName("", "n1"), True),
        ("nodes.//n1", ObjectName("", "n1", "nodes"), True),
    ],
)
def test_an_object_is_named_by_namespace_and_name_and_maybe_its_resource(
    partitionkey: str, name: ObjectName, matches: bool
) -> None:
    assert name.matches(partitionkey) is matches
