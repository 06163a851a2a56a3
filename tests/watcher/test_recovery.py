"""Killed, cut off, refused and lied to: at the end, what consumers were told is what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.backoff import Backoff
from storage.contracts import Bus
from storage.errors import Refused
from storage.event import Event
from storage.testing.faults import (
    Crash,
    Fault,
    FaultyBus,
    Script,
    crash_after,
    crash_before,
    duplicate,
    lost_reply,
    refused,
)
from tests.apiserver import CRDS, WORKFLOW_DEFINITION, WORKFLOWS, LocalSimulator, simulator
from tests.watcher.rig import KEY, MARKER, Rig, data, event_source, rig, told
from watcher import api as watcher_api
from watcher import journal, pipeline, repair


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, and pages of two objects, so that a list is many commits."""
    monkeypatch.setattr(pipeline, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(journal, "BLOCKED", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(repair, "PAGE_OBJECTS", (2, 2))
    monkeypatch.setattr(repair, "COMMIT_OBJECTS", 2)


def faulty(*faults: Fault | None) -> Callable[[Bus], Bus]:
    script = Script(faults)  # one script for all restarts of the wrapped bus
    return lambda bus: FaultyBus(bus, commits=script)


async def believed(bench: Rig, events: list[Event]) -> None:
    """Whoever applies the events in order knows exactly what is there, and nothing was told out of turn."""
    known: dict[str, dict[str, str]] = {}
    sequences: dict[str, str] = {}
    for event in events:
        change, lane = data(event)["type"], event.partitionkey
        uid = event.id.split(".")[1]
        assert event.sequence >= sequences.get(lane, ""), f"{event.id} is out of order"
        sequences[lane] = event.sequence
        held = known.setdefault(lane, {})
        if change == "DELETE":
            assert held.pop(uid, None) is not None, f"{event.id} ends what was never told"
        else:
            assert set(held) <= {uid}, f"{event.id} comes before the end of {set(held)}"
            held[uid] = event.id.split(".")[2]
    listed = (await bench.api.list(*WORKFLOWS))["items"]
    there = {
        o["metadata"]["uid"]: o["metadata"]["resourceVersion"] for o in listed if MARKER not in o["metadata"]["name"]
    }
    assert {uid: rv for held in known.values() for uid, rv in held.items()} == there


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(6))
async def test_killed_in_the_middle_of_the_first_list_with_objects_deleted_before_the_restart(
    bench: Rig, commits: int, fault: Fault
) -> None:
    for name in "abcdefg":
        await bench.create(name)
    bench.wrap = faulty(*[None] * commits, fault)
    await bench.start()
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    await bench.delete("a")
    await bench.delete("g")
    await bench.update("b", {"spec": {"n": 2}})
    await bench.delete("c")
    await bench.create("c")
    await bench.start()
    events = await bench.events()
    await believed(bench, events)
    assert len({e.id for e in events}) == len(events)


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(9))
async def test_killed_in_the_middle_of_a_repair_with_objects_deleted_before_the_restart(
    bench: Rig, commits: int, fault: Fault
) -> None:
    for name in "abcdefg":
        await bench.create(name)
    await bench.start()
    events = await bench.events()
    await bench.kill()
    for name in "abe":
        await bench.delete(name)
    await bench.create("a")
    await bench.update("d", {"spec": {"n": 2}})
    await bench.create("h")
    await bench.api.expire_history()
    # The first list is behind us: the mark, seven objects and a marker in pages of two, two deletions, the end.
    bench.wrap = faulty(*[None] * commits, fault)
    await bench.start()
    if commits < 7:
        assert isinstance(await bench.ended(), Crash)
        await bench.kill()
    else:
        events += await bench.events()
        await bench.kill()
    bench.wrap = lambda bus: bus
    for name in "df":
        await bench.delete(name)
    await bench.create("d")
    await bench.start()
    events += await bench.events()
    await believed(bench, events)
    gaps = await (await bench.open()).checkpoints.gaps(KEY)
    assert gaps
    assert gaps[0].reason == "history expired"


@pytest.mark.parametrize("fault", [lost_reply, refused, duplicate])
async def test_a_commit_that_is_lost_refused_or_repeated_counts_once(bench: Rig, fault: Fault) -> None:
    for name in "abc":
        await bench.create(name)
    bench.wrap = faulty(*[fault, None] * 20)
    await bench.start()
    await bench.watching()
    for n in range(5):
        await bench.update("a", {"spec": {"n": n + 10}})
    await bench.delete("b")
    events = await bench.events()
    assert told(events) == ["ADD a", "ADD b", "ADD c", *["UPDATE a"] * 5, "DELETE b"]
    assert len({e.id for e in events}) == len(events)


async def test_deletions_while_down_are_announced_after_history_expired(bench: Rig) -> None:
    for name in "abc":
        await bench.create(name)
    await bench.start()
    known = data((await bench.events())[1])["body"]["metadata"]
    await bench.kill()
    await bench.delete("b")
    await bench.api.expire_history()
    await bench.start()
    await bench.watching()
    more = await bench.events()
    assert told(more) == ["~DELETE b"]
    assert data(more[0])["body"] == {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {k: known[k] for k in ("name", "namespace", "uid", "resourceVersion")},
    }
    (gap,) = await (await bench.open()).checkpoints.gaps(KEY)
    assert (gap.reason, gap.synthetic) == ("history expired", 1)


async def test_an_object_deleted_and_made_anew_under_its_name_ends_before_it_begins(bench: Rig) -> None:
    old = await bench.create("a")
    await bench.start()
    events = await bench.events()
    await bench.kill()
    await bench.delete("a")
    new = await bench.create("a")
    await bench.update("a", {"spec": {"n": 2}})
    await bench.api.expire_history()
    await bench.start()
    gone, made = await bench.events()
    assert not gone.deselected
    assert told([gone, made]) == ["~DELETE a", "~ADD a"]
    assert gone.id.split(".")[1] == old["metadata"]["uid"]
    assert made.id.split(".")[1] == new["metadata"]["uid"]
    assert gone.partitionkey == made.partitionkey
    assert events[0].sequence < gone.sequence < made.sequence


@pytest.mark.parametrize("first", ["x", "y"])
async def test_a_changed_label_selector_is_a_gap(bench: Rig, first: str) -> None:
    for name, label in (("both", "x"), ("only-y", "y"), ("neither", "z")):
        await bench.create(name, labels={"k": label, "all": "yes"})
    await bench.start(event_source(filter={"labels": [{"key": "k", "value": "x"}]}))
    assert told(await bench.events({"k": "x"})) == ["ADD both"]
    await bench.kill()
    await bench.start(event_source(filter={"labels": [{"key": "k", "operation": "in", "value": f"y,{first}"}]}))
    expected = ["~ADD only-y"] if first == "x" else ["~ADD only-y", "~DELETE both"]
    events = await bench.events({"k": "y"})
    assert [e for e in told(events) if MARKER not in e] == expected
    assert all(e.deselected for e in events[1:])
    (gap,) = await (await bench.open()).checkpoints.gaps(KEY)
    assert gap.reason == "another selection"


@pytest.mark.parametrize("commits", range(5))
async def test_killed_on_the_way_to_another_namespace_still_tells_deselected_from_deleted(
    bench: Rig, commits: int
) -> None:
    for name in "abc":
        await bench.create(name, namespace="one")
    await bench.start(event_source(namespace="one"))
    await bench.events(namespace="one")
    await bench.kill()
    await bench.create("d", namespace="two")
    bench.wrap = faulty(*[None] * commits, crash_after)
    await bench.start(event_source(namespace="two"))
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await bench.start(event_source(namespace="two"))
    ends = [e for e in await bench.events(namespace="two") if "DELETE" in told([e])[0]]
    assert sorted(told(ends)) == ["~DELETE a", "~DELETE b", "~DELETE c"]
    assert all(e.deselected for e in ends)


async def test_a_changed_field_filter_announces_what_passes_now(bench: Rig) -> None:
    for name, phase in (("r", "Running"), ("s", "Succeeded")):
        await bench.create(name, phase=phase)

    def passing(phase: str) -> dict[str, object]:
        return {"fields": [{"key": "status.phase", "value": phase}]}

    await bench.start(event_source(filter=passing("Running")))
    assert told(await bench.events(phase="Running")) == ["ADD r"]
    await bench.kill()
    await bench.start(event_source(filter=passing("Succeeded")))
    assert told(await bench.events(phase="Succeeded")) == ["~UPDATE s"]
    await bench.kill()
    await bench.delete("r")
    await bench.delete("s")
    await bench.api.expire_history()
    await bench.start(event_source(filter=passing("Succeeded")))
    # Of what is gone, only what passed last is announced.
    assert told(await bench.events(phase="Succeeded")) == ["~DELETE s"]


async def test_an_entry_that_turns_to_another_resource_ends_what_it_knew(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    await bench.events()
    await bench.kill()
    config = event_source(group="", version="v1", resource="configmaps")
    await bench.api.create(
        "", "v1", "configmaps", "default", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}}
    )
    await bench.start(config)
    await bench.watching()
    bus = await bench.open()
    found: list[Event] = []
    async for delivery in bus.subscription("test/all", prefetch=1).deliveries():
        found.append(delivery.event)
        await delivery.ack()
        if "cm" in told(found[-1:])[0]:
            break
    assert told(found) == ["~DELETE a", f"~DELETE {MARKER}1", "~ADD cm"] or told(found) == [
        f"~DELETE {MARKER}1",
        "~DELETE a",
        "~ADD cm",
    ]
    assert [e.deselected for e in found] == [True, True, False]
    assert [e.partitionkey.split("/")[0] for e in found] == ["workflows.argoproj.io"] * 2 + ["configmaps."]


async def test_only_deletions_are_wanted_and_one_falls_into_a_gap(bench: Rig) -> None:
    await bench.create("a")
    await bench.create("b")
    await bench.start(event_source(eventTypes=["DELETE"]))
    await bench.watching()
    await bench.kill()
    await bench.delete("a")
    await bench.api.expire_history()
    await bench.start(event_source(eventTypes=["DELETE"]))
    await bench.watching()
    await bench.delete("b")
    bus = await bench.open()
    found: list[Event] = []
    async for delivery in bus.subscription("test/all", prefetch=1).deliveries():
        found.append(delivery.event)
        await delivery.ack()
        if len(found) == 2:
            break
    assert told(found) == ["~DELETE a", "DELETE b"]


async def test_without_an_inventory_a_gap_announces_what_is_newer_than_the_position(bench: Rig) -> None:
    source = event_source(inventory="none")
    await bench.create("a")
    await bench.create("b")
    await bench.start(source)
    assert told(await bench.events()) == ["ADD a", "ADD b"]
    await bench.kill()
    await bench.update("b", {"spec": {"n": 2}})
    await bench.create("c")
    await bench.delete("a")
    await bench.api.expire_history()
    await bench.start(source)
    assert told(await bench.events()) == ["~ADD b", "~ADD c"]
    assert await (await bench.open()).checkpoints.inventory(KEY) == {}


async def test_another_cluster_under_the_checkpoint_is_refused_and_nothing_is_sent(bench: Rig, tmp_path: Path) -> None:
    await bench.create("a")
    await bench.start()
    await bench.events()
    await bench.kill()
    async with simulator() as other:
        bench.kubeconfig = other.kubeconfig(tmp_path / "other")
        await bench.start()
        error = await bench.ended()
        assert isinstance(error, Refused)
        assert "another cluster" in str(error)
        assert f"kubecdc checkpoint reset {KEY}" in error.hint
        assert (await (await bench.open()).subscriptions())[0].pending == 0
        await bench.kill()


async def test_after_a_reset_the_watch_lists_as_at_its_first_start(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    bus = await bench.open()
    assert await bus.checkpoints.reset(KEY)
    # The leader at work notices at its next commit.
    await bench.create("b")
    assert set(told(await bench.events())) >= {"ADD a", "ADD b"}
    assert await bus.checkpoints.gaps(KEY) == []


async def test_a_cluster_that_came_back_older_starts_a_new_timeline(bench: Rig, tmp_path: Path) -> None:
    for name in "abc":
        await bench.create(name)
    for n in range(20):
        await bench.update("a", {"spec": {"n": n}})
    await bench.start()
    await bench.events()
    await bench.kill()
    async with simulator(cluster=bench.api.simulator.cluster) as older:
        bench.api, before = older, bench.api
        bench.kubeconfig = older.kubeconfig(tmp_path / "older")
        await bench.create("a")
        await bench.create("d")
        await bench.start()
        events = await bench.events()
        assert told(events)[:3] == ["~DELETE a", "~ADD a", "~ADD d"]
        assert sorted(told(events)[3:]) == ["~DELETE b", "~DELETE c"]
        assert {e.timeline for e in events} == {1}
        assert all(e.id.endswith(".t1") for e in events)
        (gap,) = await (await bench.open()).checkpoints.gaps(KEY)
        assert gap.reason == "versions ran backwards"
        await bench.kill()
        bench.api = before


@pytest.mark.parametrize("http", [False, True])
async def test_history_that_expires_under_an_open_entry_is_repaired(bench: Rig, http: bool) -> None:
    await bench.create("a")
    await bench.start()
    events = await bench.events()
    bench.api.silence()
    await bench.update("a", {"spec": {"n": 2}})
    await bench.create("b")
    await bench.api.expire_history(http=http)
    bench.api.cut_streams(mid_line=False)
    bench.api.silence(False)
    events += await bench.events()
    await believed(bench, events)


async def test_a_restarted_api_server_costs_a_gap_and_nothing_else(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    events = await bench.events()
    for n in range(3):
        await bench.update("a", {"spec": {"n": n + 10}})
        await bench.api.restart(initializing=0.05)
        await bench.delete("a")
        await bench.create("a")
        events += await bench.events()
    await believed(bench, events)


async def test_a_stream_cut_in_the_middle_of_a_line_loses_and_repeats_nothing(bench: Rig) -> None:
    await bench.start()
    await bench.watching()
    for n in range(5):
        bench.api.cut_streams()
        await bench.create(f"wf-{n}")

        async def back() -> bool:
            return bench.api.watching > 0

        await bench.until(back)
    events = await bench.events()
    assert told(events) == [f"ADD wf-{n}" for n in range(5)]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


async def test_a_silent_stream_is_closed_and_resumed_without_a_gap(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_api.Api.__init__, "__kwdefaults__", {"silence": 0.1})
    await bench.start()
    await bench.watching()
    await asyncio.sleep(0.25)  # the subject is time itself: two silences
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "credentials"), (403, "forbidden"), (429, "429"), (500, "500"), (503, "503")],
)
async def test_an_error_of_the_api_server_is_said_once_and_outlived(
    bench: Rig, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await bench.create("a")
    bench.api.fail(status, path="workflows", count=5)
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    lines = [line for line in capsys.readouterr().out.splitlines() if said in line]
    assert len([line for line in lines if "warning" in line]) == 1
    assert len([line for line in lines if "recovered" in line]) == 1


async def test_an_expired_token_is_read_again_from_the_kubeconfig(tmp_path: Path) -> None:
    async with simulator(tokens=["old"]) as api, rig(api, tmp_path) as bench:
        await bench.start()
        await bench.create("a")
        assert told(await bench.events()) == ["ADD a"]
        api.simulator.tokens = {"new"}
        api.kubeconfig(bench.kubeconfig)
        api.cut_streams(mid_line=False)
        await bench.create("b")
        assert told(await bench.events()) == ["ADD b"]


async def test_a_missing_crd_is_waited_for(bench: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    name = WORKFLOW_DEFINITION["metadata"]["name"]
    await bench.api.delete(*CRDS, "", name)
    await bench.start()

    async def said() -> bool:
        return "install the CRD" in capsys.readouterr().out

    await bench.until(said)
    await bench.api.create(*CRDS, "", WORKFLOW_DEFINITION)
    await bench.watching()
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]


async def test_pages_that_outlive_the_history_make_the_list_start_anew(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcdefg":
        await bench.create(name)
    real, calls = watcher_api.Api.page, 0

    async def page(self: watcher_api.Api, limit: int, after: str = "") -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            await bench.delete("a")
            await bench.update("b", {"spec": {"n": 2}})
            await bench.api.expire_history()
        return await real(self, limit, after)

    monkeypatch.setattr(watcher_api.Api, "page", page)
    await bench.start()
    events = await bench.events()
    await believed(bench, events)
    assert told(events)[-1] == "~DELETE a"
    assert "~UPDATE b" in told(events)


async def test_expired_events_watches_that_close_at_once_are_a_gap(bench: Rig, api: LocalSimulator) -> None:
    def note(name: str) -> dict[str, object]:
        return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": {}}

    source = event_source(group="", version="v1", resource="events", filter={"prefix": "mine"})
    await api.create("", "v1", "events", "default", note("mine-1"))
    await bench.start(source)
    await bench.watching()
    await bench.kill()
    await api.delete("", "v1", "events", "default", "mine-1")
    await api.create("", "v1", "events", "default", note("mine-2"))
    await api.expire_history()
    await bench.start(source)
    bus = await bench.open()
    found: list[Event] = []
    async for delivery in bus.subscription("test/all", prefetch=1).deliveries():
        found.append(delivery.event)
        await delivery.ack()
        if len(found) == 3:
            break
    assert told(found) == ["ADD mine-1", "~ADD mine-2", "~DELETE mine-1"]


async def test_a_gap_is_written_as_a_kubernetes_event(bench: Rig) -> None:
    await bench.start()
    await bench.create("a")
    await bench.events()
    await bench.kill()
    await bench.delete("a")
    await bench.api.expire_history()
    await bench.start()
    await bench.events()
    (event,) = (await bench.api.list("", "v1", "events", "default"))["items"]
    assert (event["reason"], event["involvedObject"]["name"]) == ("GapRepaired", "workflows")
    assert "history expired" in event["message"]
