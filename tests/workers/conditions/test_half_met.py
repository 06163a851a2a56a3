"""What is half met: one firing for each set that is complete, whatever dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import TypeVar

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.contracts.errors import ClaimLost, StateConflict
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.testing.fault_injection import Crash
from kubecdc.workers.conditions import half_met as module
from kubecdc.workers.conditions.expression import parse
from kubecdc.workers.conditions.half_met import HalfMet
from kubecdc.workers.conditions.resets import Resets, Schedule
from tests.workers.support import event

T = TypeVar("T")
PRINTS = {"a": "1", "b": "1", "c": "1"}
DAY = timedelta(days=1)


class Memory:
    """A state store. ``around`` is called with each call on it, and may do anything but it."""

    frequent = True

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], StateEntry] = {}
        self.lives: dict[tuple[str, str], timedelta] = {}

    async def around(self, call: Callable[[], T]) -> T:
        return call()

    async def get(self, scope: str, key: str) -> StateEntry | None:
        return await self.around(lambda: self.values.get((scope, key)))

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        def put() -> None:
            found = self.values.get((scope, key))
            if found and found.version == change.token:
                return
            if (found.version if found else "") != change.follows:
                raise StateConflict.of(scope, key)
            self.values[scope, key] = StateEntry(change.value, change.token)
            self.lives[scope, key] = change.ttl

        await self.around(put)

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        def delete() -> None:
            found = self.values.get((scope, key))
            if found and found.version != version:
                raise StateConflict.of(scope, key)
            self.values.pop((scope, key), None)

        await self.around(delete)

    async def keys(self, scope: str) -> list[str]:
        return await self.around(lambda: [key for of, key in self.values if of == scope])


class Faulty(Memory):
    """Every call takes some turns of the loop; some calls are lost, or their replies, or the worker dies."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        super().__init__()
        self._rng = rng
        self.rate = rate

    def _fault(self) -> BaseException | None:
        if self._rng.random() >= self.rate:
            return None
        return Crash() if self._rng.random() < 0.5 else Unavailable("lost")

    async def around(self, call: Callable[[], T]) -> T:
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)
        fault = self._fault()
        if fault and self._rng.random() < 0.5:
            raise fault
        result = call()
        await asyncio.sleep(0)
        if fault:
            raise fault
        return result


def half_met(state: Memory, text: str = "a && b", *, now: Callable[[], float] = lambda: 0.0, **more: object) -> HalfMet:
    settings = {"prints": PRINTS, **more}
    return HalfMet(state, "s/t", parse(text), now=now, **settings)  # type: ignore[arg-type]


def names(found: object) -> object:
    """The sequences of the events of a set."""
    return {name: int(one.sequence) for name, one in found.items()} if isinstance(found, dict) else found


async def test_the_last_event_of_each_dependency_counts_and_then_it_begins_anew() -> None:
    met = half_met(Memory())
    assert names(await met.complete("a", event(1))) is None
    assert names(await met.complete("a", event(2))) is None
    assert names(await met.complete("b", event(3))) == {"a": 2, "b": 3}
    assert names(await met.complete("b", event(4))) is None
    assert names(await met.complete("a", event(5))) == {"a": 5, "b": 4}


async def test_an_event_that_comes_again_changes_nothing() -> None:
    state = Memory()
    met, other = half_met(state), half_met(state)
    assert await met.complete("a", event(1)) is None
    assert await other.complete("a", event(1)) is None
    for one in (met, other):
        assert names(await one.complete("b", event(2))) == {"a": 1, "b": 2}, "its worker died before it fired"
    await met.fired("b", event(2))
    assert await other.complete("b", event(2)) is None, "its worker died before the ack"
    assert await other.complete("a", event(1)) is None, "its worker died before the ack"
    assert names(await other.complete("a", event(3))) is None, "what came again is not taken twice"


async def test_one_event_may_be_of_two_dependencies() -> None:
    met = half_met(Memory())
    assert await met.complete("a", event(1)) is None
    assert names(await met.complete("b", event(1))) == {"a": 1, "b": 1}


async def test_what_is_acked_is_forgotten() -> None:
    state = Memory()
    met = half_met(state)
    for number in range(1, 200, 2):
        assert await met.complete("a", event(number)) is None
        await met.acked("a", event(number), completed=False)
        assert await met.complete("b", event(number + 1)) is not None
        await met.fired("b", event(number + 1))
        await met.acked("b", event(number + 1), completed=True)
    ((key, entry),) = state.values.items()
    assert (key, len(entry.value) < 300) == (("s/t", "met/"), True)


@pytest.mark.parametrize("again", ["ab", "ba"])
async def test_an_event_that_is_replayed_counts_whichever_worker_has_it(again: str) -> None:
    state, events = Memory(), {"a": event(1), "b": event(2)}
    workers = [half_met(state) for _ in range(4)]

    async def handle(met: HalfMet, dependency: str) -> object:
        found = await met.complete(dependency, events[dependency])
        if found is not None:
            await met.fired(dependency, events[dependency])
        await met.acked(dependency, events[dependency], completed=found is not None)
        return names(found)

    assert [await handle(met, one) for met, one in zip(workers, "ab" + again, strict=True)] == [
        None,
        {"a": 1, "b": 2},
    ] * 2
    assert await workers[0].kept() == []


async def test_while_the_state_is_unavailable_what_is_acked_waits_for_the_next_event() -> None:
    class Down(Memory):
        down = False

        async def around(self, call: Callable[[], T]) -> T:
            if self.down:
                raise Unavailable("down")
            return call()

    state = Down()
    met, other = half_met(state), half_met(state)
    await met.complete("a", event(1))
    state.down = True
    await met.acked("a", event(1), completed=False)
    state.down = False
    assert await other.complete("a", event(1)) is None
    await met.complete("a", event(2))
    await met.acked("a", event(2), completed=False)
    assert names(await other.complete("b", event(3))) == {"a": 2, "b": 3}
    await other.fired("b", event(3))
    await other.acked("b", event(3), completed=True)
    assert await other.complete("a", event(1)) is None
    assert [one.event for one in await other.kept()] == [event(1).id], "a replay of it counts"


async def test_ids_of_which_no_ack_is_known_are_bounded_and_no_set_that_is_owed_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_SEEN", 50)
    state = Memory()
    met = half_met(state)
    await met.complete("a", event(100))
    assert await met.complete("b", event(101)) is not None
    for number in range(60):
        await met.complete("a", event(number))
    assert state.values["s/t", "met/"].value.count(b"set/") == 50
    assert names(await half_met(state).complete("b", event(101))) == {"a": 100, "b": 101}


async def test_a_changed_dependency_forgets_its_event_and_no_other() -> None:
    state = Memory()
    before = half_met(state, "a && b && c")
    await before.complete("a", event(1))
    await before.complete("b", event(2))
    after = half_met(state, "a && b && c", prints={**PRINTS, "a": "2"})
    assert await after.complete("c", event(3)) is None
    assert names(await after.complete("a", event(4))) == {"a": 4, "b": 2, "c": 3}


async def test_a_reset_forgets_also_if_it_was_missed() -> None:
    time = 1_000_000.0
    met = half_met(Memory(), now=lambda: time, resets=Resets([Schedule("0 * * * *")]))
    await met.complete("a", event(1))
    time += 7 * 3600
    assert await met.complete("b", event(2)) is None
    assert names(await met.complete("a", event(3))) == {"a": 3, "b": 2}


async def test_keys_have_nothing_to_do_with_each_other_and_live_for_their_time() -> None:
    time = 0.0
    state = Memory()
    met = half_met(state, now=lambda: time, ttl=DAY)
    await met.complete("a", event(1), "x")
    assert await met.complete("b", event(2), "y") is None
    assert names(await met.complete("b", event(3), "x")) == {"a": 1, "b": 3}
    assert state.lives["s/t", "met/x"] > DAY, "the set is owed for as long as the trigger is away"
    await met.fired("b", event(3), "x")
    await met.acked("b", event(3), "x", completed=True)
    assert {key: life for (_, key), life in state.lives.items() if key.startswith("met/")} == {
        "met/x": DAY,
        "met/y": DAY,
    }
    time += DAY.total_seconds() + 1
    assert await met.complete("a", event(4), "y") is None, "the other one is too old"


async def test_under_a_key_an_event_that_comes_again_after_its_ack_is_known() -> None:
    met = half_met(Memory(), ttl=DAY)
    await met.complete("a", event(1), "x")
    assert await met.complete("b", event(2), "x") is not None
    await met.fired("b", event(2), "x")
    for dependency, number in (("a", 1), ("b", 2)):
        await met.acked(dependency, event(number), "x", completed=dependency == "b")
    for dependency, number in (("b", 2), ("a", 1), ("b", 2)):
        assert await met.complete(dependency, event(number), "x") is None
    assert await met.complete("b", event(3), "x") is None, "no event of the first set is used again"


async def test_a_worker_that_was_stopped_takes_no_event_that_another_has_acked() -> None:
    """It has read what is half met, and is stopped until another worker has fired the set and acked the event."""
    state = Memory()
    met, other = half_met(state), half_met(state)
    await met.complete("a", event(1))

    async def hold() -> None:
        if await other.complete("b", event(2)) is not None:
            await other.fired("b", event(2))
            await other.acked("b", event(2), completed=True)
            await other.complete("a", event(3))  # with it, that the event was seen is forgotten
        raise ClaimLost("the claim lapsed")

    with pytest.raises(ClaimLost):
        await met.complete("b", event(2), "", hold)
    assert names(await met.complete("b", event(4))) == {"a": 3, "b": 4}


async def test_nothing_stays_of_a_key_whose_events_are_acked() -> None:
    state = Memory()
    met = half_met(state, "a && b", ttl=DAY)
    long, odd = "k" * 10_000, "\n"
    for key in (long, odd):
        await met.complete("a", event(1), key)
        await met.complete("b", event(2), key)
    assert all(len(name) < 100 for _, name in state.values)


@pytest.mark.parametrize("seed", range(60))
async def test_each_set_fires_once_whatever_dies(seed: int) -> None:
    """Events come one after another, each until it is acked. Workers die anywhere, replies are lost."""
    rng = random.Random(seed)
    state, fired = Faulty(rng, 0.15), list[tuple[str, object]]()
    worker = half_met(state)
    waiting: dict[str, int] = {}
    expected: list[tuple[str, object]] = []
    for number in range(40):
        dependency, one = rng.choice("ab"), event(number)
        waiting[dependency] = number
        if len(waiting) == 2:
            expected.append((one.id, waiting))
            waiting = {}
        while True:
            try:
                found = await worker.complete(dependency, one)
                if found is not None:
                    fired.append((one.id, names(found)))
                    await worker.fired(dependency, one)
                break
            except Crash:
                worker = half_met(state)
            except Unavailable:
                pass
        try:
            await worker.acked(dependency, one, completed=found is not None)
        except Crash:  # the event is acked all the same
            worker = half_met(state)
    assert [one for n, one in enumerate(fired) if n == 0 or one != fired[n - 1]] == expected


@pytest.mark.parametrize("seed", range(40))
async def test_workers_beside_each_other_use_no_event_twice(seed: int) -> None:
    rng = random.Random(seed)
    state, fired = Faulty(rng, 0.1), dict[str, list[object]]()
    owed = {(dependency, number): event(number, key=dependency) for number, dependency in zip(count(), "ab" * 30)}

    async def handle(worker: HalfMet, dependency: str, one: Event) -> None:
        found = await until_available(lambda: worker.complete(dependency, one))
        if found is not None:
            fired.setdefault(one.id, []).append(names(found))
            await until_available(lambda: worker.fired(dependency, one))
        with suppress(Crash):  # the event is acked all the same
            await worker.acked(dependency, one, completed=found is not None)

    while owed:
        worker = [half_met(state) for _ in range(3)]
        batch = rng.sample(sorted(owed), min(len(owed), 12))
        ends = await asyncio.gather(
            *(handle(rng.choice(worker), dep, owed[dep, n]) for dep, n in batch), return_exceptions=True
        )
        for at, end in zip(batch, ends, strict=True):
            if end is None:
                del owed[at]
    sets = [repeats[0] for repeats in fired.values()]
    assert all(one == repeats[0] for repeats in fired.values() for one in repeats), "a repeat has the same events"
    used = [use for one in sets if isinstance(one, dict) for use in one.items()]
    assert len(used) == len(set(used)), "no event is in two sets"
    assert 1 <= len(sets) <= 30


async def until_available(call: Callable[[], Awaitable[T]]) -> T:
    for _ in range(50):
        with suppress(Unavailable):
            return await call()
    raise AssertionError("never")
