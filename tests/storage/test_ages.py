"""The ages of backlogs on Redis: who asks again looks at little, and finds what one finds who has never asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Publication, Replay, SubscriptionSpec
from kubecdc.storage.redis.administration.ages import PARTITIONS, RENEWED, Ages
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis_server.connection import Argument
from kubecdc.storage.testing.actors import SOURCE, Receiver, event, pending
from tests.storage.conftest import RedisHarness
from tests.storage.work import counted

ENTRIES = ["one", "two", "three"]
SPECS = [SubscriptionSpec(f"s/{n}", SOURCE, ENTRIES[n // 2]) for n in range(6)]  # two of each


async def commit(bus: RedisBus, subject: str, numbers: Iterable[int]) -> None:
    await bus.publisher.publish(Publication([event(n, f"o-{n}", subject=subject) for n in numbers]))


async def oldest(bus: RedisBus) -> dict[str, Any]:
    return {status.spec.name: status.oldest for status in await bus.subscriptions()}


async def group(bus: RedisBus, what: str, entry: int, partition: int, *args: str) -> None:
    stream = f"{bus._settings.prefix}:events:{entry}:{partition}"
    await bus._connection.command("XGROUP", what, stream, *args)


def forget(bus: RedisBus) -> None:
    """Let it look as for the first time."""
    bus._ages = Ages(bus._connection, bus._settings.partitions)


async def same(bus: RedisBus, fresh: RedisBus, what: str) -> None:
    """While workers read, what is right may change: then it is asked again."""
    before: dict[str, Any] = {}
    after: dict[str, Any] | None = None
    while before != after:
        forget(fresh)
        before = await oldest(fresh)
        found = await oldest(bus)
        forget(fresh)
        after = await oldest(fresh)
    assert found == after, what


@pytest.mark.parametrize("seed", range(8))
async def test_it_finds_what_one_finds_who_has_never_asked(redis_harness: RedisHarness, seed: int) -> None:
    """Whatever happened meanwhile, also when older events come in again."""
    rng, fresh = Random(seed), await redis_harness.redis(holder="fresh")
    bus, committed = await redis_harness.redis(), 0
    await bus.register(SPECS)
    async with AsyncExitStack() as stack:
        receivers = {spec.name: await stack.enter_async_context(Receiver.of(fresh, spec.name)) for spec in SPECS}
        for turn in range(40):
            name = rng.choice(SPECS).name
            what = rng.choices(("commit", "settle", "redrive", "replay", "move"), (8, 8, 2, 2, 1))[0]
            match what:
                case "commit":
                    count = rng.choice((1, 5, 20))
                    await commit(fresh, rng.choice(ENTRIES), range(committed, committed + count))
                    committed += count
                case "settle":
                    for _ in range(min(await pending(fresh, name), rng.choice((3, 10, 1000)))):
                        delivery = await receivers[name].next()
                        await delivery.start()
                        await (delivery.dead_letter("refused") if rng.random() < 0.2 else delivery.ack())
                case "redrive":
                    letters = await fresh.dead_letters.page(limit=3)
                    await fresh.dead_letters.redrive([letter.id for letter in letters])
                case "replay":
                    await fresh.replay(Replay(subscription=name))
                case "move":
                    await fresh.register([SubscriptionSpec(name, SOURCE, rng.choice(ENTRIES))])
            await same(bus, fresh, f"turn {turn}: {what}")


async def test_who_asks_again_looks_at_little(redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a tenth in full, and at the oldest event of each, in short scripts."""
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=64))
    specs = [SubscriptionSpec(f"s/{n}", SOURCE, f"e-{n}") for n in range(20)]
    await bus.register(specs)
    for spec in specs:
        await commit(bus, spec.subject, range(200))
    runs = []
    with counted(monkeypatch) as scripts:
        for _ in range(3):
            await bus.subscriptions()
            runs.append((await scripts.read(bus._connection.keyed)).runs["administration/oldest"])
            assert scripts.most("administration/oldest").calls < 2 * PARTITIONS
        async with Receiver.of(bus, specs[0].name, prefetch=200) as receiver:
            await receiver.acked(150)
            await scripts.read(bus._connection.keyed)
        await bus.subscriptions()
        runs.append((await scripts.read(bus._connection.keyed)).runs["administration/oldest"])
    first, *later = (sum(work.calls for work in run) for run in runs)
    assert first > 20 * 64
    assert max(later) < first * 0.15


async def test_it_may_be_asked_again_before_it_has_answered_and_told_to_stop(redis_harness: RedisHarness) -> None:
    bus, other = await redis_harness.redis(), await redis_harness.redis(holder="fresh")
    await bus.register(SPECS)
    for turn, entry in enumerate(ENTRIES * 3):
        await commit(bus, entry, range(turn * 50, turn * 50 + 50))
        looks = [asyncio.create_task(oldest(bus)) for _ in range(3)]
        for _ in range(turn):
            await asyncio.sleep(0.001)
        looks[0].cancel()
        results = await asyncio.gather(*looks, return_exceptions=True)
        forget(other)
        assert results[1] == results[2] == await oldest(other)
        async with Receiver.of(other, SPECS[turn % 6].name, prefetch=8) as receiver:
            await receiver.acked(30)
        await same(bus, other, entry)


async def test_an_answer_that_is_lost_is_asked_for_again(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, fresh = await redis_harness.redis(), await redis_harness.redis(holder="fresh")
    await bus.register(SPECS)
    await commit(bus, "one", range(100))
    run, left = bus._connection.run, 2

    async def lossy(script: str, *args: Argument) -> Any:
        nonlocal left
        answer = await run(script, *args)
        if script == "administration/oldest" and not (left := left - 1):
            raise Unavailable("the answer is lost")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(bus._connection, "run", lossy)
        patch.setattr("kubecdc.storage.redis.administration.ages.BUDGET", 5000)
        with pytest.raises(Unavailable):
            await bus.subscriptions()
    await same(bus, fresh, "after it")


async def test_what_a_redis_has_forgotten_is_found_after_a_few_times(redis_harness: RedisHarness) -> None:
    """Acks of its last second, for example: what was settled is pending again."""
    bus, fresh = await redis_harness.redis(), await redis_harness.redis(holder="fresh")
    await bus.register(SPECS[:1])
    await commit(bus, "one", [0])
    async with Receiver.of(bus, SPECS[0].name) as receiver:
        await receiver.acked(1)
    await commit(bus, "one", range(1, 200))
    await same(bus, fresh, "before")
    for partition in range(bus._settings.partitions):
        await group(bus, "SETID", 1, partition, f"1:{SPECS[0].name}", "0")
    await bus._connection.keyed("HINCRBY", "subscription:1", "pending", 1)
    forget(fresh)
    right = await oldest(fresh)
    assert right in [await oldest(bus) for _ in range(RENEWED)]


async def test_a_group_that_is_made_again_brings_its_old_events_back(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=1))
    await bus.register(SPECS[:1])
    await commit(bus, "one", [0])
    before = await oldest(bus)
    await group(bus, "DESTROY", 1, 0, f"1:{SPECS[0].name}")
    assert await oldest(bus) == {SPECS[0].name: None}
    async with Receiver.of(bus, SPECS[0].name) as receiver:
        await receiver.next()
        assert await oldest(bus) == before


async def test_a_subscription_that_moves_is_looked_for_where_it_was_and_where_it_is(
    redis_harness: RedisHarness,
) -> None:
    bus, fresh = await redis_harness.redis(), await redis_harness.redis(holder="fresh")
    await bus.register(SPECS)
    await commit(bus, "one", range(30))
    await commit(bus, "two", range(30))
    await same(bus, fresh, "before")
    await bus.register([replace(SPECS[0], subject="two"), replace(SPECS[2], subject="one")])
    await same(bus, fresh, "after it")
    for number in range(30, 90, 10):
        await commit(bus, ("one", "two")[number // 10 % 2], range(number, number + 10))
        await same(bus, fresh, f"commit {number}")
    async with Receiver.of(fresh, SPECS[0].name) as receiver:
        for _ in range(6):
            await receiver.acked(10)
            await same(bus, fresh, "acks")


async def test_an_event_behind_many_of_others_is_looked_for_again(redis_harness: RedisHarness) -> None:
    """No script goes through all that was replayed for another subscription."""
    settings = replace(redis_harness.settings, partitions=1)
    bus = await redis_harness.redis(settings)
    await bus.register(SPECS[:2])
    await commit(bus, "one", range(60))
    for spec in SPECS[:2]:
        async with Receiver.of(bus, spec.name, prefetch=64) as receiver:
            await receiver.acked(60)
    assert await bus.replay(Replay(subscription=SPECS[0].name)) == 60
    await commit(bus, "one", [60])
    assert (await oldest(bus))[SPECS[1].name] is None, "it is the 61st"
    async with Receiver.of(bus, SPECS[1].name) as receiver:
        await receiver.next()
        (status,) = [status for status in await bus.subscriptions() if status.spec == SPECS[1]]
    assert isinstance(status.oldest, float) and isinstance(status.registered, float)
    assert status.oldest > status.registered
