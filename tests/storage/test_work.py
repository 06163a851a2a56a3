"""No script holds a shared Redis: what one does is bounded, however much there is in the bus."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubecdc.cli import backlog
from kubecdc.current import Current
from kubecdc.storage.contracts import UNKNOWN, CheckpointStore, Gap, Publication, Replay, SubscriptionSpec, Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.storage.redis.administration import ages, registrations, replays
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis.deliveries import dispatcher
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.testing.actors import (
    KEY,
    SOURCE,
    SUBJECT,
    Keeper,
    Leader,
    Receiver,
    event,
    pending,
    until,
)
from tests.storage.conftest import RedisHarness, SqliteHarness
from tests.storage.rounds import counted as counted_rounds
from tests.storage.work import counted


async def test_thousands_of_checkpoints_are_read_in_a_few_round_trips(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await redis_harness.redis()
    store, keys = bus.checkpoints, [f"workflows/changed/namespace-{n:04}" for n in range(2500)]
    await asyncio.gather(*(store.acquire(key, Term(1, "one")) for key in keys))
    await store.acquire(keys[7], Term(3, "two"))
    with (
        counted(monkeypatch) as scripts,
        counted_rounds(monkeypatch, (Connection, "command"), (Connection, "run_call")) as rounds,
    ):
        found = await store.checkpoints()
    assert [(checkpoint.key, checkpoint.term) for checkpoint in found] == [
        (key, 3 if key == keys[7] else 1) for key in keys
    ]
    assert rounds.count == rounds.calls == 6, "one for their keys, and one for each five hundred"
    await scripts.read(bus._connection.keyed)
    assert [work.calls for work in scripts.runs["commits/checkpoints"]] == [500] * 5


async def test_who_takes_the_lead_looks_at_thousands_of_checkpoints_in_small_steps(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await redis_harness.redis()
    store, keys = bus.checkpoints, [f"workflows/changed/namespace-{n:04}" for n in range(2500)]
    await asyncio.gather(*(store.acquire(key, Term(3, "one")) for key in keys))
    # A program of an earlier version leaves its term only with the checkpoint.
    await bus._connection.keyed("HSET", f"checkpoint:{keys[1234]}", "term", 9)
    with counted(monkeypatch) as scripts:
        async with bus.elector.lead() as term:
            assert term.number > 9
            with pytest.raises(LeadershipLost):
                await store.acquire("workflows/changed/new", Term(9, "one"))
        assert await store.newest_term() == term.number
        await scripts.read(bus._connection.keyed)
    assert scripts.most("commits/lead").calls < 10
    assert 500 <= scripts.most("commits/terms").calls < 510


@pytest.mark.parametrize("back_end", ["sqlite", "redis"])
async def test_of_the_gaps_of_a_checkpoint_the_newest_hundred_are_kept(
    back_end: str, harness: SqliteHarness, redis_harness: RedisHarness
) -> None:
    store: CheckpointStore = (
        (await harness.sqlite()).checkpoints if back_end == "sqlite" else (await redis_harness.redis()).checkpoints
    )
    gaps = [Gap("expired", str(number), "9", "2026-01-01T00:00:00Z", 0) for number in range(105)]
    keeper, other = await Keeper.take(store), await Keeper.take(store, key="another")
    await other.save(gap=gaps[0])
    for gap in gaps:
        await keeper.save(gap=gap)
    assert await store.gaps(KEY) == gaps[-100:]
    assert await store.gaps("another") == gaps[:1]


async def test_the_names_of_pruned_subscriptions_do_not_grow_for_ever(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis()
    command, prefix = bus._connection.command, bus._settings.prefix
    old = [word for number in range(1000) for word in (f"old-{number}", str(number + 1))]
    await command("HSET", f"{prefix}:pruned", *old)
    await bus.register([SubscriptionSpec("new", "workflows", "changed")])
    assert await bus.prune("new")
    names = set(await command("HGETALL", f"{prefix}:pruned")) - set(map(str.encode, old[1::2]))
    assert {b"new", b"old-1", b"old-999"} < names and b"old-0" not in names


def spec(number: int, entry: int | None = None) -> SubscriptionSpec:
    """One of many subscriptions, each of an entry of its own if none is given."""
    return SubscriptionSpec(f"sensor/{number:03}", f"source-{number if entry is None else entry}", "changed")


async def commit(bus: RedisBus, source: str, count: int, *, padding: int = 0, objects: int = 1000) -> None:
    """Commit so many events of an EventSource."""
    for begin in range(0, count, 100):
        numbers = range(begin, min(begin + 100, count))
        some = [event(n, f"o-{n % objects}", source=source, padding=padding) for n in numbers]
        await bus.publisher.publish(Publication(some))


async def test_an_event_is_read_by_those_that_want_it(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CHECK", 3600.0)
    bus = await redis_harness.redis()
    await bus.register([spec(number) for number in range(40)])
    ready = 0

    async def consume(name: str) -> None:
        nonlocal ready
        async with Receiver.of(bus, name, prefetch=64) as receiver:
            await receiver.nothing(1.0)  # the first read, of all partitions, is over
            ready += 1
            await asyncio.Event().wait()

    others = [asyncio.create_task(consume(spec(number).name)) for number in range(1, 40)]
    async with Receiver.of(bus, spec(0).name, prefetch=64) as receiver:

        async def all_are_ready() -> bool:
            return ready == len(others)

        await until(all_are_ready)
        with counted(monkeypatch) as scripts:
            await commit(bus, "source-0", 400, padding=10_000)
            await receiver.acked(400)
            await scripts.read(bus._connection.keyed)
    read = scripts.runs["deliveries/read"]
    assert 400 * 10_000 <= sum(work.bytes for work in read) < 1.2 * 400 * 10_000, "each body once"
    assert len(read) < 100, "nobody else was woken"
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.mark.parametrize("entries", ["of their own", "one for all"])
async def test_the_status_of_many_subscriptions_is_found_in_small_steps(
    entries: str, redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ages, "BUDGET", 200_000)
    monkeypatch.setattr(registrations, "STATUSES", 25)
    bus = await redis_harness.redis()
    specs = [spec(number, None if entries == "of their own" else 0) for number in range(60)]
    await bus.register(specs)
    await commit(bus, "source-0", 300, padding=50_000)
    if entries == "of their own":
        await commit(bus, "source-7", 500)
    async with Receiver.of(bus, specs[0].name, prefetch=8) as receiver:
        for _ in range(10):
            await receiver.acked(1)
        with counted(monkeypatch) as scripts:
            statuses = await bus.subscriptions()
            await scripts.read(bus._connection.keyed)
    expected = {specs[0].name: 290} | (
        {specs[7].name: 500} if entries == "of their own" else {one.name: 300 for one in specs[1:]}
    )
    assert {status.spec.name: status.pending for status in statuses if status.pending} == expected
    assert [status.spec for status in statuses] == specs
    for status in statuses:
        assert isinstance(status.registered, float)
        if status.pending:
            assert isinstance(status.oldest, float) and 0 <= status.oldest - status.registered < 60
        else:
            assert status.oldest is None
    longest = scripts.most()
    assert longest.calls < 350 and longest.bytes < 200_000 + 2 * 60_000, f"{longest}: no matter how many there are"


async def test_to_warn_of_a_backlog_takes_only_counts(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await redis_harness.redis()
    await bus.register([spec(0)])
    await commit(bus, "source-0", 100, padding=50_000)

    async def warned() -> bool:
        return bool(lines)

    with counted(monkeypatch) as scripts, capture_logs() as lines:
        watching = asyncio.create_task(backlog.watch(bus, Current([spec(0)]), 150))
        await until(warned)
        watching.cancel()
        await scripts.read(bus._connection.keyed)
    assert set(scripts.runs) == {"administration/status"} and scripts.most().bytes < 1000
    (status,) = await bus.subscriptions(ages=False)
    assert (status.pending, status.oldest) == (100, UNKNOWN)


async def test_dead_letters_are_redriven_and_purged_in_small_steps(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await redis_harness.redis(replace(redis_harness.settings, max_pending=60))
    await bus.register([spec(0)])
    await commit(bus, "source-0", 50, padding=150_000)
    await commit(bus, "source-0", 100, objects=100)
    async with Receiver.of(bus, spec(0).name, prefetch=200) as receiver:
        for _ in range(150):
            delivery = await receiver.next()
            await delivery.start()
            await delivery.dead_letter("refused")
        ids = [letter.id for letter in await bus.dead_letters.page(limit=200)]
        assert len(ids) == 150
    with counted(monkeypatch) as scripts:
        refused = await bus.dead_letters.redrive([*ids[::-1], "9-9"])
        redriven = 151 - len(refused)
        assert 10 < redriven <= 60, "the rest does not fit"
        assert set(refused) == {"9-9", *ids[redriven:]} and "maxPending" in refused[ids[-1]]
        assert await bus.dead_letters.purge([*ids, "9-9"]) == 150 - redriven
        await scripts.read(bus._connection.keyed)
    assert await pending(bus, spec(0).name) == redriven
    assert [letter.id for letter in await bus.dead_letters.page()] == []
    assert scripts.most("administration/redrive").bytes < 2_000_000
    assert scripts.most("administration/purge").bytes < 3_000_000


async def test_the_steps_of_a_replay_do_not_grow(redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "PAGE", 50)
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=1))
    await bus.register([spec(0)])
    await commit(bus, "source-0", 1000)
    async with Receiver.of(bus, spec(0).name, prefetch=64) as receiver:
        await receiver.acked(1000)
        with counted(monkeypatch) as scripts:
            assert await bus.replay(Replay(subscription=spec(0).name)) == 1000
            await scripts.read(bus._connection.keyed)
        copies = scripts.runs["administration/copy"]
        assert len(copies) == 20
        first, last = copies[0], copies[-1]
        assert (last.calls, last.elements) == (first.calls, first.elements) and last.bytes < 1.1 * first.bytes
        assert scripts.most().calls < 200
        assert sorted(await receiver.acked(1000)) == sorted(event(n, f"o-{n}").id for n in range(1000))


async def test_what_is_committed_during_a_replay_comes_last_of_its_object(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "PAGE", 10)
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=1))
    await bus.register([SubscriptionSpec("billing", SOURCE, SUBJECT)])
    leader, run = await Leader.take(bus), bus._connection.run
    objects = [f"o-{number}" for number in range(30)]
    await leader.commit(*(event(1, name) for name in objects))
    version = 1

    async def meanwhile(script: str, *args: Argument) -> Any:
        nonlocal version
        if script == "administration/copy" and version < 4:
            version += 1
            await leader.commit(*(event(version, name) for name in objects))
        return await run(script, *args)

    async with Receiver.of(bus, "billing", prefetch=64) as receiver:
        await receiver.acked(30)
        monkeypatch.setattr(bus._connection, "run", meanwhile)
        copied = await bus.replay(Replay(subscription="billing"))
        got = await receiver.acked(copied + 90)
    assert await pending(bus, "billing") == 0
    for name in objects:
        mine = [int(id_.split(".")[2]) for id_ in got if f".uid-{name}." in id_]
        assert mine[-1] == 4, "the newest is the last that is seen"
        first, again = mine[: mine.index(1)], mine[mine.index(1) :]
        assert again[: len(set(again))] == sorted(again[: len(set(again))]) and first == sorted(first)
