"""History that the API server no longer has: repaired by a list, deletions included, and recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.cluster import list_watch as watcher_api
from kubecdc.storage.contracts.event import Event
from tests.apiserver import LocalSimulator, simulator
from tests.watcher.rig import KEY, Rig, believed, data, event_source, told

pytestmark = pytest.mark.usefixtures("quick")


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


async def test_pages_that_outlive_the_history_make_the_list_start_anew(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcdefg":
        await bench.create(name)
    real, calls = watcher_api.ListWatch.page, 0

    async def page(self: watcher_api.ListWatch, limit: int, after: str = "") -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            await bench.delete("a")
            await bench.update("b", {"spec": {"n": 2}})
            await bench.api.expire_history()
        return await real(self, limit, after)

    monkeypatch.setattr(watcher_api.ListWatch, "page", page)
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
