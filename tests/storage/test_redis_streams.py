"""The streams of a Redis bus: those that a subscription leaves, and those that an earlier format has left."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import EntryState, Gap, Inventoried, Replay, Replayable, SubscriptionSpec
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis_server import registrations
from kubecdc.storage.testing.actors import KEY, SOURCE, SUBJECT, Leader, Receiver, event, pending, state
from tests.storage.conftest import RedisHarness

DATA = Path(__file__).parent.parent / "data" / "redis" / "format-1.jsonl"
HERE, THERE = SubscriptionSpec("billing", SOURCE, SUBJECT), SubscriptionSpec("billing", SOURCE, "other")


async def raw(bus: RedisBus, command: str, key: str, *args: str | int) -> Any:
    return await bus._connection.keyed(command, key, *args)


async def streams(bus: RedisBus) -> set[str]:
    """The entries that have streams; that of format 1 as "0"."""
    start = f"{bus._settings.prefix}:events:"
    keys = [key.decode() for key in await bus._connection.command("KEYS", start.replace("[", "\\[") + "*")]
    return {key.removeprefix(start).rpartition(":")[0] or "0" for key in keys}


async def test_what_was_owed_before_a_subscription_moved_comes_first_and_then_its_streams_are_forgotten(
    redis_harness: RedisHarness,
) -> None:
    bus = await redis_harness.redis()
    await bus.register([HERE])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    await bus.register([THERE])
    moved = [event(number, subject="other") for number in (3, 4)]
    await leader.commit(*moved)
    await bus.retention.enforce()
    assert await raw(bus, "HGET", "subscription:1", "entries") == b"1 2", "it is owed events of both"
    async with Receiver.of(bus, "billing") as receiver:
        assert await receiver.acked(4) == [event(1).id, event(2).id, *(one.id for one in moved)]
        await bus.register([HERE])
        await leader.commit(event(5))
        assert await receiver.acked(1) == [event(5).id]
        await bus.retention.enforce()
        assert await raw(bus, "HGET", "subscription:1", "entries") == b"1"
        assert await streams(bus) == {"1", "2"}, "what it settled is retained"
        await leader.commit(event(6))
        assert await receiver.acked(1) == [event(6).id]
    await (await redis_harness.redis(replace(redis_harness.settings, retention=timedelta(0)))).retention.enforce()
    assert await streams(bus) == {"1"}
    assert await raw(bus, "HGETALL", "entries") == [f"{SOURCE}\n{SUBJECT}".encode(), b"1"]


async def test_a_worker_reads_what_comes_for_a_process_that_still_has_the_entry_before(
    redis_harness: RedisHarness,
) -> None:
    """While processes are replaced, events of both entries are owed, in any order."""
    settings = replace(redis_harness.settings, partitions=1)
    old, new = await redis_harness.redis(settings, "old"), await redis_harness.redis(settings, "new")
    await old.register([HERE])
    leader = await Leader.take(old)
    await new.register([THERE])
    async with Receiver.of(new, "billing", prefetch=4) as receiver:
        for numbers in ([1], [2, 3], [4]):
            for number in numbers:
                here, there = event(number), event(number, subject="other")
                await leader.commit(here)
                assert await receiver.acked(1) == [here.id]
                await leader.commit(there)
                assert await receiver.acked(1) == [there.id]
            await leader.commit(
                *(event(number, "b", subject=subject) for number in numbers for subject in (SUBJECT, "other"))
            )
            await receiver.acked(2 * len(numbers))
    assert await pending(new, "billing") == 0


async def restore(harness: RedisHarness) -> None:
    """A bus of format 1: what a program of that format has written."""
    bus = await harness.redis()
    await bus._connection.keyed("DEL", "meta")
    for line in DATA.read_text().splitlines():
        command = [word.replace("{kubecdc:format-1}", harness.settings.prefix) for word in json.loads(line)]
        await bus._connection.command(*command)


async def test_a_bus_of_format_1_keeps_all_that_it_has(redis_harness: RedisHarness) -> None:
    await restore(redis_harness)
    bus = await redis_harness.redis()
    audit, billing, pods = await bus.subscriptions()
    assert [(status.spec.name, status.pending, status.dead_letters) for status in (audit, billing, pods)] == [
        ("audit", 0, 1),
        ("billing", 4, 0),
        ("pods", 1, 0),
    ]
    assert isinstance(billing.oldest, float) and isinstance(billing.registered, float)
    assert 0.0 <= billing.oldest - billing.registered < 5.0
    assert await bus.checkpoints.gaps(KEY) == [Gap("history expired", "3", "4", "2026-05-28T20:26:40Z", 1)]
    assert await bus.checkpoints.inventory(KEY) == {"uid-a": Inventoried("4", "default", "a", True)}
    (letter,) = await bus.dead_letters.page()
    assert (letter.subscription, letter.event) == ("audit", event(1).id)
    assert await bus.replayable(Replay(subscription="audit")) == Replayable(5, None)

    leader = await Leader.take(bus, term=2)
    (checkpoint,) = await bus.checkpoints.checkpoints()
    assert (checkpoint.number, checkpoint.state) == (2, state(2))
    await leader.commit(event(6), event(7, "d"))
    async with Receiver.of(bus, "billing", prefetch=3) as receiver:
        got = [await receiver.next() for _ in range(3)]
        assert {one.event.id: one.attempt for one in got} == {event(1).id: 2, event(5, "c").id: 1, event(7, "d").id: 1}
        for one in got:
            await one.ack()
        assert await receiver.acked(3) == [event(number).id for number in (2, 4, 6)]
    async with Receiver.of(bus, "audit", prefetch=1) as receiver:
        await receiver.acked(2)
        assert await bus.replay(Replay(subscription="audit")) == 7
        again = await receiver.acked(7)
        assert [id_ for id_ in again if "uid-a" in id_] == [event(number).id for number in (1, 2, 4, 6)]
        assert await bus.dead_letters.redrive([letter.id]) == {}
        assert await receiver.acked(1) == [event(1).id]
    await bus.retention.enforce()
    assert await raw(bus, "HGET", "subscription:1", "entries") == b"1"
    assert await raw(bus, "HGET", "subscription:3", "entries") == b"0 2", "it is still owed one"
    await bus.prune("pods")
    await (await redis_harness.redis(replace(redis_harness.settings, retention=timedelta(0)))).retention.enforce()
    assert await streams(bus) == {"1"}


async def test_a_migration_that_was_interrupted_takes_nothing_from_who_knows_only_format_1(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await redis_harness.redis()
    await restore(redis_harness)
    former = f"entry:{SOURCE}\n{SUBJECT}"
    assert await bus._connection.run("administration/migrate", 8, 1, 2) == 1
    assert await raw(bus, "HGET", "meta", "format") == b"1"
    assert sorted(await raw(bus, "SMEMBERS", former)) == [b"1", b"2"], "a watcher of format 1 commits for both"
    monkeypatch.setattr(registrations, "TOGETHER", 1)
    other = await redis_harness.redis()
    assert await raw(bus, "HGET", "meta", "format") == b"2"
    assert await raw(bus, "SMEMBERS", former) == [], "from now on it waits, as for an entry without subscribers"
    assert await pending(other, "billing") == 4
    async with Receiver.of(other, "billing", prefetch=1) as receiver:
        assert len(set(await receiver.acked(4))) == 4


async def test_a_newer_format_is_refused(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis()
    await raw(bus, "HSET", "meta", "format", 3)
    with pytest.raises(UsageError, match="has format 3, this kubecdc knows 2"):
        await redis_harness.redis()


async def test_retention_does_not_touch_what_belongs_to_an_entry_as_a_whole(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis(replace(redis_harness.settings, retention=timedelta(0)))
    await bus.register([HERE])
    leader = await Leader.take(bus)
    begun = EntryState(started="2026-01-01T00:00:00+00:00", timeline=3)
    await bus.checkpoints.save_entry("workflows/changed", begun, term=leader.term)
    await bus.retention.enforce()
    assert await bus.checkpoints.entry("workflows/changed") == begun
