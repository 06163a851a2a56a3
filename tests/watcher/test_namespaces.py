"""Entries in several namespaces: the ones that are named, and the ones that a selector finds, as they come and go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubecdc.backoff import Backoff
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.errors import Refused
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.testing.fault_injection import Crash, FaultyBus, Script, crash_after, crash_before, refused
from kubecdc.watcher import recovery
from kubecdc.watcher.capture import diff, reasons, stream
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.manifest import EventSource
from kubecdc.watcher.namespaces import ending, selected, watches
from kubecdc.watcher.pipeline import Watch
from tests.apiserver import NAMESPACES, LocalSimulator, simulator, watch
from tests.apiserver.changes import Change
from tests.apiserver.watch import WatchRules
from tests.watcher.namespaces import PROD, hurry, keys, namespace, relabel
from tests.watcher.rig import KEY, SPEC, Rig, counted, event_source, faulty, told

EVENTS = ("", "v1", "events")


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    """Its bookmarks come ten times as soon: a namespace that is left is read up to one."""
    async with simulator(rules=WatchRules(scale=0.1)) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


async def test_namespaces_that_match_are_watched_as_they_come_and_go(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two")
    await bench.create("a", namespace="one")
    await bench.create("b", namespace="two")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one")
    assert told(await bench.events(namespace="one")) == ["ADD a"]
    await relabel(bench, "two", "prod")
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    events = await bench.events(namespace="two")
    assert told(events) == ["ADD b"]
    assert not events[0].synthetic  # a first list, no gap
    await relabel(bench, "one", "test")
    await keys(bench, f"{KEY}/two")
    events = await bench.events(namespace="two")
    assert told(events) == ["~DELETE a"]
    assert events[0].deselected
    await relabel(bench, "one", "prod")
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert told(await bench.events(namespace="one")) == ["ADD a"]


async def test_what_changed_among_the_namespaces_while_down_is_caught_up(bench: Rig) -> None:
    for name in ("one", "two"):
        await namespace(bench, name, "prod")
        await bench.create(f"in-{name}", namespace=name)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert sorted(told(await bench.events(namespace="one"))) == ["ADD in-one", "ADD in-two"]
    await bench.kill()
    await relabel(bench, "one", None)
    await namespace(bench, "three", "prod")
    await bench.create("in-three", namespace="three")
    await bench.delete("in-two", namespace="two")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two", f"{KEY}/three")
    events = {e.partitionkey.split("/")[2]: e for e in await bench.events(namespace="three")}
    assert told([events["in-one"]]) == ["~DELETE in-one"]
    assert events["in-one"].deselected
    assert told([events["in-two"], events["in-three"]]) == ["DELETE in-two", "ADD in-three"]


async def test_a_namespace_that_is_deleted_ends_its_objects(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    await bench.create("a", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await bench.events(namespace="two")
    await bench.api.delete(*NAMESPACES, "", "one")
    await keys(bench, f"{KEY}/two")
    (event,) = await bench.events(namespace="two")
    assert told([event])[0].removeprefix("~") == "DELETE a"
    assert not event.deselected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"namespaces": ["one", "two"]}, {"namespaces": ["one"]}, ["~DELETE in-two"]),
        ({}, {"namespaces": ["one"]}, ["~DELETE in-one", "~DELETE in-two", "ADD in-one"]),
        ({"namespaces": ["one"]}, {}, ["~DELETE in-one", "ADD in-one", "ADD in-two"]),
        ({"namespace": "one"}, {"namespace": "two"}, ["~ADD in-two", "~DELETE in-one"]),
    ],
)
async def test_a_manifest_that_names_other_namespaces_ends_what_is_left(
    bench: Rig, before: dict[str, Any], after: dict[str, Any], expected: list[str]
) -> None:
    await bench.api.make_namespaces("one", "two")
    for name in ("one", "two"):
        await bench.create(f"in-{name}", namespace=name)
    await bench.start(event_source(**before))
    await bench.watching()
    place = (before.get("namespaces") or [before.get("namespace", "one")])[0]
    await bench.events(namespace=place)
    await bench.kill()
    await bench.start(event_source(**after))
    await bench.watching()
    place = (after.get("namespaces") or [after.get("namespace", "one")])[0]
    events = await bench.events(namespace=place)
    ends = [e for e in told(events) if "DELETE" in e]
    assert sorted(told(events)) == sorted(expected)
    assert all(e.deselected for e in events if "DELETE" in told([e])[0])
    if len(ends) > 1 or "ADD in-one" in expected:
        assert told(events).index("~DELETE in-one") < told(events).index("ADD in-one")


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(4))
async def test_killed_while_leaving_a_namespace_that_is_selected_again(bench: Rig, commits: int, fault: Any) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    for name in "abcde":
        await bench.create(name, namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    known: set[str] = set()

    def apply(events: list[Event]) -> None:
        for event in events:
            name = event.partitionkey.rsplit("/", 1)[1]
            if "DELETE" in told([event])[0]:
                known.remove(name)
            else:
                known.add(name)

    apply(await bench.events(namespace="one"))
    await bench.kill()
    await relabel(bench, "one", None)
    bench.wrap = lambda bus: FaultyBus(bus, commits=Script([*[None] * commits, fault]))
    await bench.start(PROD)
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await relabel(bench, "one", "prod")
    await bench.delete("c", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    apply(await bench.events(namespace="one"))
    assert known == set("abde")


async def test_another_cluster_is_refused_before_any_namespace_is_left(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await bench.create("a", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one")
    await bench.events(namespace="one")
    await bench.kill()
    async with simulator() as other:
        other.kubeconfig(bench.kubeconfig)
        await bench.start(PROD)
        assert isinstance(await bench.ended(), Refused)
        assert (await (await bench.open()).subscriptions())[0].pending == 0
        await bench.kill()


class Held:
    """Ends of watches that do not get on until they may. ``begun``: their keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.may = asyncio.Event()
        self._end = ending.end
        monkeypatch.setattr(ending, "end", self._held)

    async def _held(self, watch: Watch, writer: CheckpointWriter) -> None:
        self.begun.append(watch.entry.key)
        await self.may.wait()
        await self._end(watch, writer)

    async def begins(self, bench: Rig, count: int = 1) -> None:
        async def begun() -> bool:
            return len(self.begun) >= count

        await bench.until(begun)


async def left_with_changes(bench: Rig) -> None:
    """Two namespaces are watched; while the watcher is down, objects of one change, and it leaves the selection."""
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    for name in "ab":
        await bench.create(name, namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == ["ADD a", "ADD b"]
    await bench.kill()
    for phase in ("Running", "Succeeded"):
        await bench.update("a", {"metadata": {"labels": {"phase": phase}}}, namespace="one")
    await bench.delete("b", namespace="one")
    await relabel(bench, "one", None)


TOLD = ["UPDATE a", "UPDATE a", "DELETE b", "~DELETE a"]  # of left_with_changes
REPAIRED = ["~UPDATE a", "~DELETE b", "~DELETE a"]  # where only a list shows them


async def gaps(bench: Rig, namespace: str = "one") -> list[tuple[str, int]]:
    """Of a namespace that has left: its entry keeps them."""
    checkpoints, left = (await bench.open()).checkpoints, f" ({KEY}/{namespace})"
    assert await checkpoints.gaps(f"{KEY}/{namespace}") == []
    found = await checkpoints.gaps(KEY)
    return [(g.reason.removesuffix(left), g.synthetic) for g in found if g.reason.endswith(left)]


async def test_a_namespace_that_left_the_selection_while_down_tells_its_last_changes_first(bench: Rig) -> None:
    await left_with_changes(bench)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    events = await bench.events(namespace="two")
    assert told(events) == TOLD
    assert [e.deselected for e in events] == [False, False, False, True]
    assert [e.sequence for e in events] == sorted(e.sequence for e in events)
    assert await gaps(bench) == []


async def test_a_namespace_that_was_deleted_while_down_tells_its_last_changes_and_real_ends(bench: Rig) -> None:
    await left_with_changes(bench)
    await bench.delete("a", namespace="one")
    await bench.api.delete(*NAMESPACES, "", "one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == ["UPDATE a", "UPDATE a", "DELETE b", "DELETE a"]
    assert await gaps(bench) == []


async def test_what_a_blocked_watch_had_read_ahead_is_told_though_its_namespace_is_deselected(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    await bench.create("a", namespace="one")
    blocked = asyncio.Event()
    bench.wrap = lambda bus: FaultyBus(bus, commits=Script(iter(lambda: refused if blocked.is_set() else None, 0)))
    held = Held(monkeypatch)
    held.may.set()
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await bench.events(namespace="two")
    blocked.set()
    for n in range(5):
        await bench.update("a", {"spec": {"n": n}}, namespace="one")
    await relabel(bench, "one", None)
    await held.begins(bench)
    blocked.clear()
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == ["UPDATE a"] * 5 + ["~DELETE a"]
    assert await gaps(bench) == []


@pytest.mark.parametrize("http", [True, False])
async def test_a_namespace_whose_last_changes_expired_is_a_gap_that_is_recorded_and_reported(
    bench: Rig, http: bool
) -> None:
    await left_with_changes(bench)
    changed = int(bench.api.version)
    await bench.api.expire_history(http=http)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    events = await bench.events(namespace="two")
    assert told(events) == REPAIRED
    assert [e.deselected for e in events] == [False, False, True]
    assert all(int(e.sequence) >= changed for e in events[1:]), (
        "a leader may have told of the changes, and not saved it"
    )
    assert await gaps(bench) == [("history expired", 2)]
    assert [e["reason"] for e in await bench.reported()] == ["GapRepaired"]


async def test_a_namespace_whose_history_expired_alarms_nobody_if_nothing_changed_in_it(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    for name in "ab":
        await bench.create(name, namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await bench.events(namespace="two")
    await bench.kill()
    await relabel(bench, "one", None)
    await bench.create("elsewhere", namespace="two")
    await bench.api.expire_history()
    alarming, routine = counted(reasons.EXPIRED, f"{KEY}/two"), counted(reasons.EXPIRED)
    with capture_logs() as logs:
        await bench.start(PROD)
        await keys(bench, f"{KEY}/two")
        events = told(await bench.events(namespace="two"))
    assert sorted(events) == ["~ADD elsewhere", "~DELETE a", "~DELETE b"]
    assert await gaps(bench) == [(reasons.EXPIRED, 0)]
    assert counted(reasons.EXPIRED) == (routine[0], routine[1] + 1)
    assert counted(reasons.EXPIRED, f"{KEY}/two") == (alarming[0] + 1, alarming[1])
    assert [line["watch"] for line in logs if line["log_level"] == "warning"] == [f"{KEY}/two"]


async def test_a_namespace_whose_history_expired_and_that_cannot_be_listed_is_a_gap(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.05)
    await left_with_changes(bench)
    await bench.api.expire_history()
    bench.api.fail(403, method="GET", path="namespaces/one/workflows.*limit=50")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert sorted(told(await bench.events(namespace="two"))) == ["~DELETE a", "~DELETE b"]
    assert await gaps(bench) == [(reasons.EXPIRED, 2)]


async def test_a_namespace_whose_history_expired_and_whose_list_expires_is_listed_again(bench: Rig) -> None:
    await left_with_changes(bench)
    await bench.api.expire_history()
    bench.api.fail(410, count=3, method="GET", path="namespaces/one/workflows.*limit=50")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == REPAIRED


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(6))
async def test_killed_while_a_list_repairs_what_expired_in_a_namespace_nothing_is_told_twice(
    bench: Rig, commits: int, fault: Any
) -> None:
    await left_with_changes(bench)
    await bench.api.expire_history()
    # The mark, one change, one end, the position, the mark of the end, the other end; and the other namespace's.
    bench.wrap = lambda bus: FaultyBus(bus, commits=Script([*[None] * commits, fault]))
    await bench.start(PROD)
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == REPAIRED
    assert {reason for reason, _ in await gaps(bench)} == {reasons.EXPIRED}


async def test_a_namespace_whose_last_changes_the_server_fails_to_show_is_a_gap(bench: Rig) -> None:
    await left_with_changes(bench)
    bench.api.faults.refuse_watches({"code": 500, "message": "conversion webhook failed"}, below=bench.api.version)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == REPAIRED
    assert await gaps(bench) == [(reasons.REFUSED, 2)]


@pytest.mark.parametrize("answer", [500, 504, 405, 400, "no JSON"])
@pytest.mark.parametrize("source", [PROD, event_source(namespaces=["two"])], ids=["deselected", "no longer named"])
async def test_a_namespace_whose_watches_all_fail_is_a_gap_and_holds_up_no_other(
    bench: Rig, monkeypatch: pytest.MonkeyPatch, answer: int | str, source: EventSource
) -> None:
    await left_with_changes(bench)
    if isinstance(answer, int):
        bench.api.fail(answer, method="GET", path="namespaces/one/workflows.*watch=true")
    else:
        changes = watch.Watch._changes

        def broken(self: watch.Watch, past: Iterable[Change]) -> Iterator[bytes]:
            lines = changes(self, past)
            return (b"<html>\n" for _ in lines) if self.collection.kind.plural == "workflows" else lines

        monkeypatch.setattr(watch.Watch, "_changes", broken)
    await bench.start(source)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == REPAIRED
    assert await gaps(bench) == [(reasons.REFUSED, 2)]


async def test_a_namespace_that_may_no_longer_be_read_is_a_gap_and_no_wait_without_end(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.05)
    await left_with_changes(bench)
    bench.api.fail(403, method="GET", path="namespaces/one/workflows")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert sorted(told(await bench.events(namespace="two"))) == ["~DELETE a", "~DELETE b"]
    assert await gaps(bench) == [(ending.UNREADABLE, 2)]
    assert [e["reason"] for e in await bench.reported()] == ["GapRepaired"]


async def test_a_refusal_that_passes_is_no_gap(bench: Rig) -> None:
    await left_with_changes(bench)
    bench.api.fail(403, count=3, method="GET", path="namespaces/one/workflows")
    bench.api.fail(503, count=3, method="GET", path="namespaces/one/workflows.*watch=true")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == TOLD
    assert await gaps(bench) == []


async def test_an_end_that_the_server_never_shows_is_a_gap_after_all_that_it_showed(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(ending, "WATCH_SECONDS", (1.0, 1.0))  # too short for a bookmark
    await left_with_changes(bench)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == TOLD
    assert [reason for reason, _ in await gaps(bench)] in ([ending.UNREACHED], [reasons.CLOSED])


async def test_a_namespace_of_a_cluster_that_came_back_older_is_left_with_a_gap(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    await bench.create("a", namespace="one")
    before = await bench.api.snapshot()
    for n in range(10):
        await bench.update("a", {"spec": {"n": n}}, namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await bench.kill()
    await bench.api.restore(before, initializing=0)
    await relabel(bench, "one", None)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert await gaps(bench) == [(reasons.BACKWARDS, 1)]


@pytest.mark.parametrize(
    ("before", "after", "elsewhere"),
    [
        ({"namespaces": ["one", "two"]}, {"namespaces": ["two"]}, "two"),
        ({}, {"namespaces": ["two"]}, "two"),
        ({"namespaces": ["one"]}, {"namespace": "two"}, "two"),
        ({}, {"namespaceSelector": {"matchLabels": {"env": "prod"}}}, "two"),
    ],
)
async def test_a_manifest_that_names_other_namespaces_tells_the_last_changes_in_those_it_leaves(
    bench: Rig, before: dict[str, Any], after: dict[str, Any], elsewhere: str
) -> None:
    await namespace(bench, "one")
    await namespace(bench, "two", "prod")
    await bench.create("a", namespace="one")
    await bench.start(event_source(**before))
    await bench.watching()
    assert told(await bench.events(namespace="one")) == ["ADD a"]
    await bench.kill()
    for n in range(3):
        await bench.update("a", {"spec": {"n": n}}, namespace="one")
    await bench.start(event_source(**after))
    assert told(await bench.events(namespace=elsewhere)) == ["UPDATE a"] * 3 + ["~DELETE a"]
    for checkpoint in await (await bench.open()).checkpoints.checkpoints():
        assert await (await bench.open()).checkpoints.gaps(checkpoint.key) == []


async def test_a_namespace_that_is_selected_again_while_it_is_left_begins_after_its_end(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    await bench.create("a", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == ["ADD a"]
    await relabel(bench, "one", None)
    await held.begins(bench)
    for env in ("prod", None, "prod"):
        await relabel(bench, "one", env)
    await bench.update("a", {"spec": {"n": 1}}, namespace="one")
    await namespace(bench, "three", "prod")  # it begins after all of that was seen
    await keys(bench, f"{KEY}/one", f"{KEY}/two", f"{KEY}/three")
    assert told(await bench.events(namespace="three")) == []
    held.may.set()
    events = await bench.events(namespace="one")
    assert told(events) == ["UPDATE a", "~DELETE a", "ADD a"]
    assert events[1].deselected
    assert held.begun == [f"{KEY}/one"]


async def test_a_load_balancer_that_cuts_the_watch_of_the_namespaces_delays_none(
    bench: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selected, "INSTANT_SECONDS", 0.0)  # it is open for a while
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(3600))
    await namespace(bench, "n0", "prod")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/n0")
    capsys.readouterr()

    async def cut() -> bool:
        return bench.api.cut_streams(mid_line=False, resource="namespaces") > 0

    for n in range(1, 4):
        await bench.until(cut)
        await namespace(bench, f"n{n}", "prod")
        await keys(bench, *(f"{KEY}/n{i}" for i in range(n + 1)))
    assert "warning" not in capsys.readouterr().out


async def test_many_namespaces_that_are_left_delay_no_new_one(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "ENDS", 4)
    held = Held(monkeypatch)
    names = [f"old-{n}" for n in range(6)]
    for name in names:
        await namespace(bench, name, "prod")
        await bench.create(f"in-{name}", namespace=name)
    await bench.start(PROD)
    await keys(bench, *(f"{KEY}/{name}" for name in names))
    await bench.events(namespace="old-0")
    for name in names[:3]:
        await relabel(bench, name, None)
    await held.begins(bench, 3)
    await bench.kill()
    for name in names[3:]:
        await relabel(bench, name, None)
    await bench.start(PROD)
    await held.begins(bench, 3 + 4)
    await namespace(bench, "new", "prod")
    await bench.create("first", namespace="new")
    assert told(await bench.events(namespace="new")) == ["ADD first"]
    assert len(held.begun) == 3 + 4
    held.may.set()
    await keys(bench, f"{KEY}/new")
    assert sorted(told(await bench.events(namespace="new"))) == [f"~DELETE in-{name}" for name in names]


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(6))
async def test_killed_while_a_namespace_is_read_to_its_end_nothing_is_lost_or_told_twice(
    bench: Rig, monkeypatch: pytest.MonkeyPatch, commits: int, fault: Any
) -> None:
    monkeypatch.setattr(stream, "BATCH", 1)
    await left_with_changes(bench)
    # Three changes, the bookmark, the mark, one end; and whatever the other namespace commits.
    bench.wrap = lambda bus: FaultyBus(bus, commits=Script([*[None] * commits, fault]))
    await bench.start(PROD)
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == TOLD
    assert await gaps(bench) == []


async def test_the_lead_that_is_lost_while_namespaces_are_left_ends_all_of_it(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    await left_with_changes(bench)
    await bench.start(PROD)
    await held.begins(bench)
    await bench.kill()
    assert [t for t in asyncio.all_tasks() if re.search("leave|Limit", repr(t.get_coro()))] == []
    held.may.set()
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two")
    assert told(await bench.events(namespace="two")) == TOLD


async def test_trouble_that_ended_with_its_namespace_is_said_again_of_another(
    bench: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    async def reported(name: str) -> bool:
        return f"watch={KEY}/{name} (commit)" in capsys.readouterr().out.replace("'", "")

    bench.wrap = faulty(*[refused] * 1000)
    await namespace(bench, "one", "prod")
    await bench.start(PROD)
    await bench.until(lambda: reported("one"))
    await relabel(bench, "one", None)  # nothing of it was committed, so nothing resolves the trouble
    await namespace(bench, "two", "prod")
    await bench.until(lambda: reported("two"))


async def test_the_objects_of_a_namespace_that_is_left_are_asked_for_beside_each_other_and_delay_no_other(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff, "COMMIT_OBJECTS", 500)
    asked: list[str] = []
    answer, ask = asyncio.Event(), ListWatch.uid

    async def uid(self: ListWatch, namespace: str, name: str) -> str:
        asked.append(name)
        await answer.wait()
        return await ask(self, namespace, name)

    monkeypatch.setattr(ListWatch, "uid", uid)
    await namespace(bench, "big", "prod")
    names = [f"o{n:02}" for n in range(40)]
    for name in names:
        await bench.create(name, namespace="big")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/big")
    assert told(await bench.events(namespace="big")) == [f"ADD {name}" for name in names]
    await relabel(bench, "big", None)

    async def waiting() -> bool:
        return len(asked) >= 16

    await bench.until(waiting)
    await namespace(bench, "new", "prod")
    await bench.create("first", namespace="new")
    async with asyncio.timeout(60):
        async for delivery in (await bench.open()).subscription(SPEC.name, prefetch=1).deliveries():
            await delivery.ack()
            assert told([delivery.event]) == ["ADD first"]
            break
    assert len(asked) == 16, "more at a time would be a load on the API server"
    answer.set()
    await keys(bench, f"{KEY}/new")
    assert sorted(told(await bench.events(namespace="new"))) == [f"~DELETE {name}" for name in names]
    assert len(asked) == len(names) + 1, "and the marker"


async def test_an_end_that_cannot_be_read_yet_is_logged_once_it_is(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one")
    with capture_logs() as logs:
        bench.api.fail(503, path="/namespaces/one/workflows", count=5)
        await relabel(bench, "one", "test")
        await keys(bench)
    said = [line["event"] for line in logs if line.get("watch") == f"{KEY}/one"]
    assert said.count("no longer watched") == 1
    assert sum("503" in event for event in said) == 1
