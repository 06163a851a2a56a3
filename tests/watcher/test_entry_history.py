"""What belongs to an entry as a whole: its first start, and ids and timelines that are used once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubecdc.storage.contracts import EntryState, Term
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.fault_injection import Crash, FaultyBus, Script, crash_after, crash_before
from kubecdc.watcher.capture import pages, reasons
from kubecdc.watcher.entry_history import EntryHistory
from tests.apiserver import LocalSimulator, objects, simulator
from tests.apiserver.watch import WatchRules
from tests.harness.other_program import other_program
from tests.watcher.namespaces import PROD, hurry, keys, namespace, relabel
from tests.watcher.rig import KEY, Rig, announced_once, data, event_source, told

SELECTED: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
STARTED = "2026-01-01T00:00:00+00:00"


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator(rules=WatchRules(scale=0.1), initializing=0) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(pages, "PAGE_OBJECTS", (2, 2))


class Clock:
    """When the API server creates objects: long before any start of the watcher, or long after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = "2020-01-01T00:00:00Z"
        monkeypatch.setattr(objects, "now", lambda: self.now)

    def start(self) -> None:
        self.now = "2120-01-01T00:00:00Z"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# The first start


@pytest.mark.parametrize("entry", [{"filter": {"afterStart": True}}, {"initialList": "skip"}])
async def test_the_first_start_is_that_of_the_entry_also_for_a_namespace_that_comes_later(
    bench: Rig, clock: Clock, entry: dict[str, Any]
) -> None:
    source = event_source(**SELECTED, **entry)
    await namespace(bench, "one", "prod")
    await namespace(bench, "two")
    await bench.create("before", namespace="one")
    await bench.create("before-too", namespace="two")
    await bench.start(source)
    await keys(bench, f"{KEY}/one")
    clock.start()
    assert told(await bench.events(namespace="one")) == []
    await bench.kill()
    await relabel(bench, "two", "prod")
    await bench.create("while-down", namespace="two")
    await bench.start(source)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == ["ADD while-down"]


@pytest.mark.parametrize("entry", [{"filter": {"afterStart": True}}, {"initialList": "skip"}])
async def test_it_outlives_every_namespace(bench: Rig, clock: Clock, entry: dict[str, Any]) -> None:
    source = event_source(**SELECTED, **entry)
    await namespace(bench, "one", "prod")
    await bench.start(source)
    await keys(bench, f"{KEY}/one")
    clock.start()
    await relabel(bench, "one", None)
    await keys(bench)
    await bench.kill()
    await bench.create("unwatched", namespace="one")
    await relabel(bench, "one", "prod")
    await bench.start(source)
    await keys(bench, f"{KEY}/one")
    assert told(await bench.events(namespace="one")) == ["ADD unwatched"]


async def test_what_is_created_before_a_first_list_that_is_late_is_not_skipped(bench: Rig, clock: Clock) -> None:
    await bench.create("before")
    bench.api.fail(404, method="GET", path="/workflows")  # the CRD is not there yet
    await bench.start(event_source(initialList="skip"))

    async def begun() -> bool:
        return await (await bench.open()).checkpoints.entry(KEY) is not None

    await bench.until(begun)
    clock.start()
    await bench.create("after")
    bench.api.faults.clear()
    assert told(await bench.events()) == ["ADD after"]


# Ids and timelines


async def gathered(bench: Rig, found: list[Event], **marker: Any) -> list[Event]:
    """What came, also added to what was found before."""
    events = await bench.events(**marker)
    found += events
    return events


async def test_a_namespace_that_leaves_and_comes_back_is_announced_under_other_ids(bench: Rig) -> None:
    found: list[Event] = []
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    await bench.create("a", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await gathered(bench, found, namespace="two")
    await bench.create("b", namespace="one")
    for _ in range(2):
        await relabel(bench, "one", "test")
        await keys(bench, f"{KEY}/two")
        assert told(await gathered(bench, found, namespace="two"))[-2:] == ["~DELETE a", "~DELETE b"]
        await relabel(bench, "one", "prod")
        await keys(bench, f"{KEY}/one", f"{KEY}/two")
        assert told(await gathered(bench, found, namespace="two")) == ["ADD a", "ADD b"]
    await bench.update("a", {"spec": {"n": 1}}, namespace="one")
    assert told(await gathered(bench, found, namespace="one")) == ["UPDATE a"]
    announced_once(found)


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(4))
async def test_so_is_one_that_comes_back_before_its_end_was_announced_completely(
    bench: Rig, commits: int, fault: Any
) -> None:
    found: list[Event] = []
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    for name in "abcde":
        await bench.create(name, namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await gathered(bench, found, namespace="two")
    await bench.kill()
    await relabel(bench, "one", None)
    bench.wrap = lambda bus: FaultyBus(bus, commits=Script([*[None] * commits, fault]))
    await bench.start(PROD)
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await relabel(bench, "one", "prod")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await gathered(bench, found, namespace="one")
    announced_once(found)
    known: set[str] = set()
    for change in told(found):
        action, name = change.removeprefix("~").split()
        (known.remove if action == "DELETE" else known.add)(name)
    assert known == set("abcde")


async def settled(bench: Rig, resource: str) -> None:
    """Wait until the resource is watched, and no list is under way."""
    bus = await bench.open()

    async def watching() -> bool:
        states = [c.state for c in await bus.checkpoints.checkpoints() if c.state]
        done = all(not s.listing and s.selection.resource == resource for s in states)
        return bool(states) and done and bench.api.watching > 0

    await bench.until(watching)


@pytest.mark.parametrize(
    "other",
    [
        {"filter": {"labels": [{"key": "x", "value": "1"}]}},  # the API server leaves the object out
        {"filter": {"prefix": "z"}},  # the watcher does
        {"namespaces": ["one"]},
        {"namespace": "one"},
        {"namespace": "elsewhere"},
        {"namespaces": ["elsewhere"]},
        SELECTED,
        {"group": "", "version": "v1", "resource": "configmaps"},
    ],
)
async def test_so_is_what_a_manifest_leaves_out_and_selects_again(bench: Rig, other: dict[str, Any]) -> None:
    found: list[Event] = []
    await namespace(bench, "one", "prod")
    await namespace(bench, "elsewhere")
    await bench.create("a", namespace="one")
    await bench.create("b", namespace="one")
    await bench.start(event_source())
    await bench.events()
    await bench.update("a", {"spec": {"n": 1}}, namespace="one")
    await gathered(bench, found)

    for entry in (other, {}, other, {}):
        await bench.kill()
        await bench.start(event_source(**entry))
        await settled(bench, entry.get("resource", "workflows"))
    await bench.update("b", {"spec": {"n": 1}}, namespace="one")
    assert told(await gathered(bench, found))[-1] == "UPDATE b"
    announced_once(found)


async def test_so_is_what_an_operator_resets(bench: Rig) -> None:
    found: list[Event] = []
    await bench.create("a")
    await bench.start()
    assert told(await gathered(bench, found)) == ["ADD a"]
    for _ in range(2):
        assert await (await bench.open()).checkpoints.reset(KEY)
        await bench.create("makes-the-leader-notice")
        assert "ADD a" in told(await gathered(bench, found))
        await bench.delete("makes-the-leader-notice")
        await gathered(bench, found)
    announced_once(found)


async def repairing(bench: Rig, after: int) -> int:
    """Wait for a repair under a later timeline, and return it."""
    bus = await bench.open()

    async def timeline() -> int:
        checkpoint = await bus.checkpoints.checkpoint(KEY)
        assert checkpoint is not None and checkpoint.state is not None
        return checkpoint.state.timeline if checkpoint.state.listing == reasons.BACKWARDS else 0

    async def begun() -> bool:
        return await timeline() > after

    await bench.until(begun)
    return await timeline()


async def test_two_restores_in_one_repair_are_two_timelines(bench: Rig) -> None:
    for name in "abcd":
        await bench.create(name)
    await bench.start()
    found: list[Event] = []
    await gathered(bench, found)
    snapshot = await bench.api.snapshot()
    for n in range(3):
        await bench.update("a", {"spec": {"n": n}})
    await gathered(bench, found)
    timeline = 0
    for content in ("first", "second"):
        bench.api.faults.clear()
        bench.api.fail(500, path="continue=")  # the list does not get to its second page
        await bench.api.restore(snapshot)
        await bench.update("a", {"metadata": {"labels": {"content": content}}})
        timeline = await repairing(bench, after=timeline)
    bench.api.faults.clear()
    await gathered(bench, found)
    announced_once(found)
    last = [event for event in found if event.partitionkey.endswith("/a")][-1]
    assert data(last)["body"]["metadata"]["labels"]["content"] == "second"


async def test_what_an_interrupted_list_saw_and_a_restore_undid_is_a_restore(bench: Rig) -> None:
    """The list's version is not below the position, so only the objects tell."""
    for name in "abc":
        await bench.create(name)
    await bench.start()
    found: list[Event] = []
    await gathered(bench, found)
    await bench.kill()
    snapshot = await bench.api.snapshot()
    for n in range(9):
        await bench.update("b", {"spec": {"n": n}})
    await bench.create("aa")
    await bench.api.expire_history()
    bench.api.fail(500, path="continue=")
    await bench.start()
    bus = await bench.open()

    async def seen() -> bool:
        return any(known.name == "aa" for known in (await bus.checkpoints.inventory(KEY)).values())

    await bench.until(seen)
    await bench.kill()
    await bench.api.restore(snapshot)
    bench.api.faults.clear()
    await bench.api.expire_history()
    await bench.start()
    assert "~DELETE aa" in told(await gathered(bench, found))
    announced_once(found)
    assert found[-1].timeline > 0


# Kept in the bus


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Any]:
    bus = await open_bus(SqliteSettings(tmp_path / "entry.db"), holder="test")
    yield bus.checkpoints
    await bus.close()


async def test_watches_share_the_timeline_of_one_restore(store: Any) -> None:
    history = EntryHistory(store, Term(1, "test"), KEY)
    assert [await history.next_timeline(0) for _ in range(3)] == [1, 1, 1]
    assert await history.next_timeline(1) == 2
    again = EntryHistory(store, Term(2, "test"), KEY)
    assert (await again.begin()).timeline == 2
    assert [await again.next_timeline(0), await again.next_timeline()] == [2, 3]


async def test_the_checkpoints_of_an_earlier_version_go_on_and_tell_the_first_start(bench: Rig) -> None:
    found: list[Event] = []
    for name in ("one", "two"):
        await namespace(bench, name, "prod")
        await bench.create(f"in-{name}", namespace=name)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await gathered(bench, found, namespace="one")
    await bench.kill()
    await as_an_earlier_version_left_it(bench)
    await bench.start(PROD)
    assert told(await gathered(bench, found, namespace="two")) == [], "nothing is announced anew"
    bus = await bench.open()
    assert await bus.checkpoints.entry(KEY) == EntryState(started=STARTED, timeline=1)
    await relabel(bench, "one", None)
    await keys(bench, f"{KEY}/two")
    await relabel(bench, "one", "prod")
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert told(await gathered(bench, found, namespace="one")) == ["~DELETE in-one", "ADD in-one"]
    announced_once(found)


async def as_an_earlier_version_left_it(bench: Rig) -> None:
    """No state of the entry, and each checkpoint with a start of its own."""
    with other_program(bench.path) as db:
        db.execute("DELETE FROM entries")
        for key, started in ((f"{KEY}/one", "2026-01-02T00:00:00+00:00"), (f"{KEY}/two", STARTED)):
            (state,) = next(iter(db.execute("SELECT state FROM checkpoints WHERE key = ?", (key,))))
            changed = msgspec.json.encode({**msgspec.json.decode(state), "started": started})
            db.execute("UPDATE checkpoints SET state = ? WHERE key = ?", (changed, key))
