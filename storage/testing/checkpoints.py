"""Checkpoints, in the bus or in a separate store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from kubecdc.storage.contracts import CheckpointStore, EntryState, Gap, Inventoried, Term
from kubecdc.storage.contracts.errors import CommitMismatch, LeadershipLost
from kubecdc.storage.testing.actors import KEY, Keeper, raises, state, step
from kubecdc.storage.testing.case import Case, Harness

ENTRY = "workflows/changed"
KNOWN = Inventoried("7", "default", "a", True)
UNSEEN = Inventoried("7", "default", "a", False)


class StoreHarness(Protocol):
    """A new, empty checkpoint store, without a write window or with one of 0 seconds."""

    async def store(self, holder: str = "one") -> CheckpointStore:
        """Open the store as another process would. The harness closes it."""
        ...


@dataclass(frozen=True)
class StoreCase:
    """A rule for every checkpoint store."""

    name: str
    run: Callable[[StoreHarness], Awaitable[None]]


@dataclass(frozen=True)
class OfBus:
    """The checkpoints that are kept in the bus."""

    harness: Harness

    async def store(self, holder: str = "one") -> CheckpointStore:
        return (await self.harness.open(holder)).checkpoints


STORE_CASES: list[StoreCase] = []
CASES: list[Case] = []  # the same cases, for a bus


def collect(body: Callable[[StoreHarness], Awaitable[None]]) -> Callable[[StoreHarness], Awaitable[None]]:
    """Decorator: add a case with the name of its function, for stores and for buses."""
    case = StoreCase(getattr(body, "__name__", repr(body)), body)
    STORE_CASES.append(case)
    CASES.append(Case(case.name, (), partial(_on_bus, case)))
    return body


async def _on_bus(case: StoreCase, harness: Harness) -> None:
    await case.run(OfBus(harness))


@collect
async def a_step_makes_inventory_and_state_durable(harness: StoreHarness) -> None:
    one, other = await harness.store("one"), await harness.store("other")
    assert (await one.checkpoint(KEY), await one.checkpoints(), await one.inventory(KEY)) == (None, [], {})
    keeper = await Keeper.take(one)
    await keeper.save(upserts={"uid-a": KNOWN})
    await keeper.save()
    await one.flush()
    found = await other.acquire(KEY, Term(2, "other"))
    assert (found.key, found.number, found.term, found.state) == (KEY, keeper.number, 2, state(2))
    assert await other.inventory(KEY) == {"uid-a": KNOWN}
    assert await other.checkpoint(KEY) == found
    assert await other.checkpoints() == [found]


@collect
async def a_step_whose_reply_was_lost_is_repeated_without_effect(harness: StoreHarness) -> None:
    keeper = await Keeper.take(await harness.store())
    delta = await keeper.save()
    await keeper.send(delta)
    assert (await keeper.store.acquire(KEY, keeper.term)).number == keeper.number
    await keeper.save()
    async with raises(CommitMismatch):
        await keeper.send(delta)


@collect
async def another_step_that_follows_the_same_commit_is_refused(harness: StoreHarness) -> None:
    keeper = await Keeper.take(await harness.store())
    await keeper.save(upserts={"uid-a": KNOWN})
    for follows in (keeper.number - 1, keeper.number + 1):
        async with raises(CommitMismatch):
            await keeper.send(step(follows, upserts={"uid-b": KNOWN}))
        async with raises(CommitMismatch):
            await keeper.intend(step(follows, upserts={"uid-b": KNOWN}))
    assert await keeper.store.inventory(KEY) == {"uid-a": KNOWN}


@collect
async def a_newer_term_fences_the_older_ones(harness: StoreHarness) -> None:
    one, other = await harness.store("one"), await harness.store("other")
    old = await Keeper.take(one, term=1)
    new = await Keeper.take(other, term=2)
    async with raises(LeadershipLost):
        await old.save()
    done = await new.save()
    newest = await Keeper.take(one, term=3)
    assert newest.number == new.number
    for late in (done, step(new.number)):
        async with raises(LeadershipLost):
            await new.send(late)
        async with raises(LeadershipLost):
            await new.intend(late)
    async with raises(LeadershipLost):
        await Keeper.take(other, term=2)
    await newest.save()


@collect
async def a_newer_term_fences_the_older_ones_under_all_keys(harness: StoreHarness) -> None:
    one, other = await harness.store("one"), await harness.store("other")
    assert await one.newest_term() == 0
    old, elsewhere = await Keeper.take(one, term=3), await Keeper.take(one, term=3, key="elsewhere")
    await old.save()
    await elsewhere.save()
    await one.flush()
    new = await Keeper.take(other, term=4)
    assert (await one.newest_term(), await other.newest_term()) == (4, 4)
    late = step(elsewhere.number, upserts={"uid-a": KNOWN})
    async with raises(LeadershipLost):
        await elsewhere.intend(late)
    async with raises(LeadershipLost):
        await elsewhere.send(late)
    for key in ("elsewhere", "a new one"):
        async with raises(LeadershipLost):
            await Keeper.take(one, term=3, key=key)
    await new.save()
    assert (await Keeper.take(other, term=4, key="elsewhere")).number == elsewhere.number
    assert await other.inventory("elsewhere") == {}


@collect
async def an_old_leader_that_has_not_noticed_yet_is_refused_under_all_keys(harness: StoreHarness) -> None:
    one, other = await harness.store("one"), await harness.store("other")
    await Keeper.take(one, term=3)
    elsewhere = await Keeper.take(one, term=3, key="elsewhere")
    await elsewhere.save()
    await one.flush()
    await Keeper.take(other, term=4)
    async with raises(LeadershipLost):
        await elsewhere.save(upserts={"uid-a": KNOWN})
    await one.flush()
    assert (await Keeper.take(other, term=4, key="elsewhere")).number == elsewhere.number
    assert await other.inventory("elsewhere") == {}


@collect
async def checkpoints_of_different_keys_are_independent(harness: StoreHarness) -> None:
    store = await harness.store()
    one, two = await Keeper.take(store, key="one", term=4), await Keeper.take(store, key="two/ü b", term=4)
    await one.save(upserts={"uid-a": KNOWN})
    await one.save()
    await two.save()
    found = [(c.key, c.number, c.term) for c in await store.checkpoints()]
    assert found == [("one", one.number, 4), ("two/ü b", two.number, 4)]
    assert await store.inventory("two/ü b") == {}


@collect
async def what_belongs_to_an_entry_outlives_its_checkpoints(harness: StoreHarness) -> None:
    one, other = await harness.store("one"), await harness.store("other")
    assert await one.entry(ENTRY) is None
    keeper = await Keeper.take(one)
    first, second = (EntryState(started="2026-01-01T00:00:00+00:00", timeline=n) for n in (0, 3))
    await one.save_entry(ENTRY, first, term=keeper.term)
    await keeper.save()
    await one.save_entry(ENTRY, second, term=keeper.term)
    await one.save_entry("another", first, term=keeper.term)
    await one.flush()
    await other.reset(KEY)
    assert (await other.entry(ENTRY), await other.entry("another"), await other.entry("none")) == (second, first, None)
    assert [c.key for c in await other.checkpoints()] in ([], [KEY])


@collect
async def an_old_leader_cannot_change_what_belongs_to_an_entry(harness: StoreHarness) -> None:
    one, other = await harness.store("one"), await harness.store("other")
    old = await Keeper.take(one, term=3)
    state = EntryState(started="2026-01-01T00:00:00+00:00", timeline=3)
    await one.save_entry(ENTRY, state, term=old.term)
    new = Term(4, "keeper-4")
    await other.save_entry(ENTRY, msgspec.structs.replace(state, timeline=4), term=new)
    async with raises(LeadershipLost):
        await one.save_entry(ENTRY, msgspec.structs.replace(state, timeline=7), term=old.term)
    async with raises(LeadershipLost):
        await old.save()
    found = await other.entry(ENTRY)
    assert (found and found.timeline, await other.newest_term()) == (4, 4)


@collect
async def the_inventory_is_what_the_deltas_made_it(harness: StoreHarness) -> None:
    keeper = await Keeper.take(await harness.store())
    uid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"  # a uid as Kubernetes makes it; other writers may use others
    kept, changed = Inventoried("1", "default", "kept", False), Inventoried("2", "", "cluster-wide", True)
    await keeper.save(upserts={uid: kept, "c": KNOWN, "gone": KNOWN, uid.upper(): KNOWN})
    await keeper.save(upserts={"c": changed}, removals=frozenset({"gone", "never-was", uid.upper()}))
    assert await keeper.store.inventory(KEY) == {uid: kept, "c": changed}


@collect
async def the_body_kept_of_an_object_is_that_of_its_last_upsert(harness: StoreHarness) -> None:
    store = await harness.store()
    keeper, other = await Keeper.take(store), await Keeper.take(store, key="other")
    uids = ["a", "b", "c", "unknown"]

    async def save(upserts: Sequence[str], bodies: Mapping[str, bytes], removals: frozenset[str]) -> dict[str, bytes]:
        delta = await keeper.save(upserts=dict.fromkeys(upserts, KNOWN), bodies=bodies, removals=removals)
        await keeper.send(delta)
        return await store.bodies(KEY, uids)

    first = {"a": b'{"v":1,  "as": "it was \xc3\xa9"}', "b": b"1", "c": b"1"}
    assert await save(["a", "b", "c"], first, frozenset()) == first
    assert await save(["a"], {"a": b"2"}, frozenset()) == {**first, "a": b"2"}
    assert await save(["b"], {}, frozenset({"c"})) == {"a": b"2"}
    assert await save(["c"], {}, frozenset()) == {"a": b"2"}, "a body that was dropped does not come back"
    assert await store.bodies(other.key, uids) == {}
    assert await store.bodies(KEY, []) == {}
    await store.reset(KEY)
    assert await store.bodies(KEY, uids) == {}


@collect
async def a_body_without_its_object_is_refused(harness: StoreHarness) -> None:
    async with raises(ValueError):
        step(1, upserts={"a": KNOWN}, bodies={"b": b"{}"})


@collect
async def gaps_are_recorded_once_and_kept_in_order(harness: StoreHarness) -> None:
    keeper = await Keeper.take(await harness.store())
    first = Gap("expired", "1", "9", "2026-01-01T00:00:00Z", 3)
    second = Gap("another selection", "9", "12", "2026-01-02T00:00:00Z", 0)
    for gap in (first, second):
        await keeper.send(await keeper.save(gap=gap))
    assert await keeper.store.gaps(KEY) == [first, second]
    assert await keeper.store.gaps("another") == []
    await keeper.store.reset(KEY)
    assert await keeper.store.gaps(KEY) == [first, second]


@collect
async def a_checkpoint_that_is_removed_leaves_its_gaps_to_the_entry_and_nothing_else(harness: StoreHarness) -> None:
    store, entry = await harness.store(), "entry"
    keeper = await Keeper.take(store)
    gap = Gap("expired", "1", "9", "2026-01-01T00:00:00Z", 3)
    await keeper.send(await keeper.save(upserts={"uid-a": KNOWN}, bodies={"uid-a": b"{}"}, gap=gap))
    for _ in range(2):
        await store.remove(KEY, entry=entry, term=keeper.term)
    await store.flush()
    assert await store.checkpoint(KEY) is None
    assert KEY not in [found.key for found in await store.checkpoints()]
    assert (await store.inventory(KEY), await store.bodies(KEY, ["uid-a"])) == ({}, {})
    assert (await store.gaps(KEY), [g.reason for g in await store.gaps(entry)]) == ([], [f"expired ({KEY})"])
    found = await store.acquire(KEY, keeper.term)
    assert (found.number, found.state) == (0, None)
    again = await Keeper.take(store)
    await again.save()
    async with raises(LeadershipLost):
        await store.remove(KEY, entry=entry, term=Term(0, "older"))
    assert (await store.acquire(KEY, again.term)).state == state(again.number)


@collect
async def a_reset_is_noticed_by_the_next_step_and_starts_over(harness: StoreHarness) -> None:
    store, other = await harness.store("one"), await harness.store("other")
    assert not await other.reset(KEY)
    keeper = await Keeper.take(store)
    done = await keeper.save(upserts={"uid-a": KNOWN})
    await store.flush()
    assert await other.reset(KEY)
    seen = await store.checkpoint(KEY)
    assert seen is not None
    assert (seen.number != keeper.number, seen.state) == (True, None)
    for late in (done, step(keeper.number)):
        async with raises(CommitMismatch):
            await keeper.send(late)
    found = await store.acquire(KEY, keeper.term)
    assert (found.state, await store.inventory(KEY)) == (None, {})
    assert not await other.reset(KEY)
    restarted = await Keeper.take(store)
    await restarted.save()
    assert (await store.acquire(KEY, keeper.term)).state == state(restarted.number)


@collect
async def what_another_process_saves_under_the_same_term_is_noticed(harness: StoreHarness) -> None:
    store, operator = await harness.store("one"), await harness.store("operator")
    keeper = await Keeper.take(store)
    await keeper.save(upserts={"uid-a": KNOWN})
    await store.flush()
    (found,) = await operator.checkpoints()
    await operator.save(KEY, step(found.number), term=Term(found.term, "operator"))
    await operator.flush()
    async with raises(CommitMismatch):
        await keeper.save()
    found = await store.acquire(KEY, keeper.term)
    assert (found.number, found.state) == (keeper.number + 1, state(keeper.number + 1))
    assert await store.inventory(KEY) == {"uid-a": KNOWN}


@collect
async def what_is_intended_is_known_until_the_step_is_made(harness: StoreHarness) -> None:
    store, other = await harness.store("one"), await harness.store("other")
    keeper = await Keeper.take(store)
    await keeper.save(upserts={"old": UNSEEN, "gone": KNOWN}, bodies={"old": b"{}"})
    new = Inventoried("9", "default", "b", True)
    later = Inventoried("9", "default", "a", True)
    delta = step(keeper.number, upserts={"new": new, "old": later}, removals=frozenset({"gone"}))
    assert await keeper.intend(delta)
    assert await keeper.intend(delta)
    await store.flush()
    found = await Keeper.take(other, term=2)
    assert (found.number, (await other.checkpoints())[0].state) == (keeper.number, state(keeper.number))
    known = {"old": UNSEEN._replace(passed=True), "gone": KNOWN}
    assert await other.inventory(KEY) == {**known, "new": new._replace(intended=True)}
    assert await other.bodies(KEY, ["old", "new"]) == {"old": b"{}"}

    repeated = step(found.number, upserts={"new": new._replace(resource_version="10")})
    assert await found.intend(repeated)
    await found.send(repeated)
    assert not await found.intend(repeated)
    found.number += 1
    await found.save(removals=frozenset({"new"}))
    assert await other.inventory(KEY) == known


@collect
async def what_comes_and_goes_within_a_step_is_intended_and_then_gone(harness: StoreHarness) -> None:
    store = await harness.store()
    keeper = await Keeper.take(store)
    await keeper.save(upserts={"old": UNSEEN}, bodies={"old": b"1"})
    gone = frozenset({"old", "new"})
    delta = step(keeper.number, upserts={"old": KNOWN, "new": KNOWN}, bodies={"new": b"2"}, removals=gone)
    assert await keeper.intend(delta)
    known = {"old": UNSEEN._replace(passed=True), "new": KNOWN._replace(intended=True)}
    assert await store.inventory(KEY) == known
    await keeper.send(delta)
    assert (await store.inventory(KEY), await store.bodies(KEY, ["old", "new"])) == ({}, {})


@collect
async def what_is_intended_before_the_first_step_is_forgotten_by_a_reset(harness: StoreHarness) -> None:
    store = await harness.store()
    keeper = await Keeper.take(store)
    assert await keeper.intend(step(keeper.number, upserts={"new": KNOWN}))
    assert await store.inventory(KEY) == {"new": KNOWN._replace(intended=True)}
    assert not await store.reset(KEY)
    assert await store.inventory(KEY) == {}
