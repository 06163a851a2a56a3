"""No script holds a shared Redis: what one does is bounded, however much there is in the bus."""

from __future__ import annotations

import asyncio

import pytest

from kubecdc.storage.contracts import CheckpointStore, Gap, Term
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.testing.actors import KEY, Keeper
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
    assert rounds.count == rounds.calls == 4, "one for their keys, and one for each thousand"
    await scripts.read(bus._connection.keyed)
    assert [work.calls for work in scripts.runs["commits/checkpoints"]] == [1000, 1000, 500]


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
    await bus._connection.run("administration/register", 8, 0, "new", "workflows", "changed")
    assert await bus.prune("new")
    names = set(await command("HGETALL", f"{prefix}:pruned")) - set(map(str.encode, old[1::2]))
    assert {b"new", b"old-1", b"old-999"} < names and b"old-0" not in names
