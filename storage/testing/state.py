"""State that workers share: compare-and-set, and expiry."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from kubecdc.storage.contracts import StateChange, StateEntry, StateStore
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.testing.actors import raises, until
from kubecdc.storage.testing.case import Case, Harness, collect

CASES: list[Case] = []
SCOPE, OTHER = "print/line", "print/other"
HOUR, INSTANT = timedelta(hours=1), timedelta(milliseconds=20)
COUNT = 15  # of each of two writers


def change(value: bytes, follows: str = "", ttl: timedelta = HOUR) -> StateChange:
    """A change that follows a version."""
    return StateChange(value=value, ttl=ttl, follows=follows)


@collect(CASES, "state")
async def what_one_process_puts_another_gets(harness: Harness) -> None:
    one, other = (await harness.open("one")).state, (await harness.open("other")).state
    assert await one.get(SCOPE, "key") is None
    first = change(b" \x00\xff {}\n ")
    await one.put(SCOPE, "key", first)
    assert await other.get(SCOPE, "key") == StateEntry(first.value, first.token)
    second = change(b"", follows=first.token)
    await other.put(SCOPE, "key", second)
    assert await one.get(SCOPE, "key") == StateEntry(b"", second.token)
    await one.delete(SCOPE, "key", version=second.token)
    assert await other.get(SCOPE, "key") is None


@collect(CASES, "state")
async def scopes_and_keys_are_independent(harness: Harness) -> None:
    state = (await harness.open()).state
    one, two, three = change(b"1"), change(b"2"), change(b"3")
    for scope, key, given in ((SCOPE, "a", one), (SCOPE, "b", two), (OTHER, "a", three)):
        await state.put(scope, key, given)
    await state.delete(SCOPE, "a", version=one.token)
    assert await state.get(SCOPE, "a") is None
    assert await state.get(SCOPE, "b") == StateEntry(b"2", two.token)
    assert await state.get(OTHER, "a") == StateEntry(b"3", three.token)


@collect(CASES, "state")
async def the_keys_of_a_scope_are_told(harness: Harness) -> None:
    one, other = (await harness.open("one")).state, (await harness.open("other")).state
    changes = {key: change(b"1") for key in ("a", "b/c", "d e\nf")}
    for key, given in changes.items():
        await one.put(SCOPE, key, given)
        await one.put(SCOPE, key, change(b"2", given.token))
    await one.put(OTHER, "another", change(b"1"))
    await one.put(SCOPE, "short", change(b"1", ttl=INSTANT))
    assert sorted(await other.keys(SCOPE)) in (sorted(changes), sorted([*changes, "short"]))

    async def gone() -> bool:
        return sorted(await other.keys(SCOPE)) == sorted(changes)

    await until(gone)
    found = await one.get(SCOPE, "b/c")
    assert found is not None
    await one.delete(SCOPE, "b/c", version=found.version)
    assert sorted(await other.keys(SCOPE)) == sorted({*changes} - {"b/c"})
    assert await other.keys("print/nothing") == []


@collect(CASES, "state")
async def of_two_changes_of_one_version_one_wins(harness: Harness) -> None:
    one, other = (await harness.open("one")).state, (await harness.open("other")).state
    follows = ""
    for _ in range(5):
        changes = [change(b"one", follows), change(b"other", follows)]
        puts = [store.put(SCOPE, "key", given) for store, given in zip((one, other), changes, strict=True)]
        ended = await asyncio.gather(*puts, return_exceptions=True)
        (winner,) = [given for given, end in zip(changes, ended, strict=True) if end is None]
        assert [type(end) for end in ended if end is not None] == [StateConflict]
        assert await one.get(SCOPE, "key") == StateEntry(winner.value, winner.token)
        follows = winner.token


@collect(CASES, "state")
async def writers_that_read_again_after_a_conflict_lose_nothing(harness: Harness) -> None:
    async def count(state: StateStore) -> None:
        done = 0
        while done < COUNT:
            found = await state.get(SCOPE, "count")
            value = b"%d" % (int(found.value) + 1 if found else 1)
            try:
                await state.put(SCOPE, "count", change(value, found.version if found else ""))
            except StateConflict:
                continue
            done += 1

    one, other = (await harness.open("one")).state, (await harness.open("other")).state
    await asyncio.gather(count(one), count(other))
    found = await one.get(SCOPE, "count")
    assert found is not None
    assert int(found.value) == 2 * COUNT


@collect(CASES, "state")
async def a_change_whose_reply_was_lost_is_repeated_without_effect(harness: Harness) -> None:
    state = (await harness.open()).state
    first = change(b"1")
    await state.put(SCOPE, "key", first)
    await state.put(SCOPE, "key", first)
    second = change(b"2", first.token)
    await state.put(SCOPE, "key", second)
    await state.put(SCOPE, "key", second)
    assert await state.get(SCOPE, "key") == StateEntry(b"2", second.token)
    async with raises(StateConflict):
        await state.put(SCOPE, "key", first)
    await state.delete(SCOPE, "key", version=second.token)
    await state.delete(SCOPE, "key", version=second.token)


@collect(CASES, "state")
async def what_follows_another_version_is_refused(harness: Harness) -> None:
    state = (await harness.open()).state
    async with raises(StateConflict):
        await state.put(SCOPE, "key", change(b"1", "never-was"))
    first = change(b"1")
    await state.put(SCOPE, "key", first)
    for refused in (change(b"2"), change(b"2", "never-was")):
        async with raises(StateConflict):
            await state.put(SCOPE, "key", refused)
    async with raises(StateConflict):
        await state.delete(SCOPE, "key", version="never-was")
    await state.delete(SCOPE, "key", version=first.token)
    anew = change(b"1")
    await state.put(SCOPE, "key", anew)
    async with raises(StateConflict):  # as many puts as before, but another version
        await state.put(SCOPE, "key", change(b"2", first.token))
    assert await state.get(SCOPE, "key") == StateEntry(b"1", anew.token)


@collect(CASES, "state")
async def a_value_expires_and_the_next_follows_nothing(harness: Harness) -> None:
    state = (await harness.open()).state
    short = change(b"1", ttl=INSTANT)
    await state.put(SCOPE, "key", short)

    async def gone() -> bool:
        return await state.get(SCOPE, "key") is None

    await until(gone)
    async with raises(StateConflict):
        await state.put(SCOPE, "key", change(b"2", short.token))
    await state.delete(SCOPE, "key", version=short.token)
    await state.put(SCOPE, "key", change(b"2"))
    assert not await gone()


@collect(CASES, "state")
async def each_change_gives_the_value_its_time_anew(harness: Harness) -> None:
    state = (await harness.open()).state
    first = change(b"1", ttl=timedelta(seconds=5))
    await state.put(SCOPE, "key", first)
    second = change(b"2", first.token, ttl=INSTANT)
    await state.put(SCOPE, "key", second)

    async def gone() -> bool:
        return await state.get(SCOPE, "key") is None

    await until(gone)


@collect(CASES, "state")
async def state_outlives_the_process_and_its_subscription(harness: Harness) -> None:
    bus = await harness.open()
    given = change(b"1")
    await bus.state.put(SCOPE, "key", given)
    await bus.close()
    assert await (await harness.open("later")).state.get(SCOPE, "key") == StateEntry(b"1", given.token)


@collect(CASES)
async def a_state_without_a_time_is_refused(harness: Harness) -> None:
    async with raises(ValueError):
        change(b"1", ttl=timedelta(0))
