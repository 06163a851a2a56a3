"""History that the API server no longer has: repaired by a list, deletions included, and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubecdc.cluster import list_watch as watcher_api
from kubecdc.cluster.connection import Cluster
from kubecdc.storage.contracts.event import Event
from tests.apiserver import WORKFLOWS, LocalSimulator, simulator
from tests.watcher.rig import KEY, Rig, believed, counted, data, event_source, told

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

    async def page(
        self: watcher_api.ListWatch, limit: int, after: str = "", *, most_bytes: int | None = None
    ) -> object:
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


@pytest.mark.parametrize("inventory", ["versions", "none"])
async def test_pages_that_expire_again_and_again_announce_each_object_once(
    bench: Rig, inventory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcdef":
        await bench.create(name)
    changes = iter("be")
    real, calls = watcher_api.ListWatch.page, 0

    async def page(
        self: watcher_api.ListWatch, limit: int, after: str = "", *, most_bytes: int | None = None
    ) -> object:
        nonlocal calls
        calls += bool(after)
        if after and calls in {2, 4}:  # both times behind "d"
            await bench.update(next(changes), {"spec": {"n": 2}})
            await bench.api.expire_history()
        return await real(self, limit, after)

    monkeypatch.setattr(watcher_api.ListWatch, "page", page)
    await bench.start(event_source(inventory=inventory))
    events = await bench.events()
    assert calls > 4
    assert len({event.id for event in events}) == len(events)
    last = {event.partitionkey[-1]: event.id for event in events}
    listed = (await bench.api.list(*WORKFLOWS))["items"]
    versions = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in listed}
    assert {name: id_.split(".")[2] for name, id_ in last.items()} == {name: versions[name] for name in "abcdef"}
    assert len(events) == (6 + 1)  # "b" changed after it had been announced, "e" before


async def test_pages_of_different_moments_are_not_taken_for_one_list(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an aggregated server that answers each page with what is there now, under the version of now."""
    for name in "abcdef":
        await bench.create(name)
    get, changed = Cluster.get, False

    async def of_now(self: Cluster, path: str, query: Mapping[str, str] | None = None, **more: Any) -> bytes:
        nonlocal changed
        asked = dict(query or {})
        token = asked.pop("continue", "")
        if not (path.endswith("/workflows") and (token or asked.get("limit") == "2")):
            return await get(self, path, query, **more)
        if token and not changed:
            changed = True
            await bench.update("a", {"metadata": {"labels": {"changed": "yes"}}})
            await bench.delete("b")
        asked.pop("limit", None)
        whole = msgspec.json.decode(await get(self, path, asked, **more))
        start = int(token or 0)
        more_items = start + 2 < len(whole["items"])
        whole["items"] = whole["items"][start : start + 2]
        whole["metadata"]["continue"] = str(start + 2) if more_items else ""
        return msgspec.json.encode(whole)

    monkeypatch.setattr(Cluster, "get", of_now)
    await bench.start()
    await bench.watching()
    events = await bench.events()
    await believed(bench, events)
    assert "~DELETE b" in told(events)
    assert "~UPDATE a" in told(events)


@pytest.mark.parametrize("inventory", ["versions", "objects", "none"])
async def test_a_restarted_api_server_is_no_news_if_nothing_changed(
    bench: Rig, inventory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every version that was told before is 410 then. One commit sets the position, and nobody is alarmed."""
    for name in "abcdefg":
        await bench.create(name)
    await bench.start(event_source(inventory=inventory))
    await bench.events()
    store = (await bench.open()).checkpoints
    before, (alarming, routine) = await store.checkpoint(KEY), counted("history expired")
    capsys.readouterr()
    await bench.api.restart(initializing=0)

    async def listed() -> bool:
        return bool(await store.gaps(KEY)) and bench.api.watching > 0

    await bench.until(listed)
    after = await store.checkpoint(KEY)
    assert before
    assert after
    assert after.number == before.number + 1
    assert [(gap.reason, gap.synthetic) for gap in await store.gaps(KEY)] == [("history expired", 0)]
    assert "warning" not in capsys.readouterr().out
    assert (await bench.api.list("", "v1", "events", "default"))["items"] == []
    assert counted("history expired") == (alarming, routine + 1)
    assert await bench.events() == []


async def test_a_restarted_api_server_is_news_if_something_changed(bench: Rig) -> None:
    await bench.create("a")
    await bench.start(event_source(eventTypes=["ADD", "DELETE"]))
    await bench.events()
    alarming, routine = counted("history expired")
    bench.api.silence()
    await bench.update("a", {"spec": {"n": 2}})  # makes no event, but a difference
    await bench.api.restart(initializing=0)
    bench.api.silence(False)

    async def reported() -> bool:
        return bool((await bench.api.list("", "v1", "events", "default"))["items"])

    await bench.until(reported)
    assert counted("history expired") == (alarming + 1, routine)
    assert await bench.events() == []


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
    (event,) = await bench.reported()
    assert (event["reason"], event["involvedObject"]["name"]) == ("GapRepaired", "workflows")
    assert "history expired" in event["message"]
