"""`events` bypass the API server's watch cache: no bookmarks, and an expired watch may end without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubecdc.cluster import list_watch
from kubecdc.watcher.capture import quiet, stream
from kubecdc.watcher.namespaces import ending
from tests.apiserver import NAMESPACES, LocalSimulator, simulator, watch
from tests.apiserver.changes import Change
from tests.apiserver.watch import WatchRules
from tests.cluster.test_recorder import recording, written
from tests.watcher.rig import KEY, Rig, event_source, rig, told

pytestmark = pytest.mark.usefixtures("quick")
EVENTS = ("", "v1", "events")
DEFAULTS = list_watch.ListWatch.__init__.__kwdefaults__ or {}


def source(**more: Any) -> Any:
    return event_source(group="", version="v1", resource="events", **more)


async def note(bench: Rig, name: str, namespace: str = "default") -> None:
    body = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": {}}
    await bench.api.create(*EVENTS, namespace, body)


async def captured(bench: Rig, count: int, seconds: float = 60) -> list[str]:
    """The next events, in short."""
    bus = await bench.open()
    found: list[str] = []
    async with asyncio.timeout(seconds):
        async for delivery in bus.subscription("test/all", prefetch=1).deliveries():
            found += told([delivery.event])
            await delivery.ack()
            if len(found) == count:
                return found
    raise AssertionError("unreachable")


async def reasons(bench: Rig) -> list[str]:
    return [gap.reason for gap in await (await bench.open()).checkpoints.gaps(KEY)]


@pytest.mark.parametrize("latency", [0.0, 1.2])
async def test_an_expired_watch_is_recognized_at_any_latency(bench: Rig, latency: float) -> None:
    await note(bench, "first")
    await bench.start(source())
    await bench.watching()
    assert await captured(bench, 1) == ["ADD first"]
    bench.api.silence()
    await note(bench, "second")
    await bench.api.expire_history()
    bench.api.cut_streams(mid_line=False)
    bench.api.faults.latency = latency
    bench.api.silence(False)
    assert await captured(bench, 1) == ["~ADD second"]
    assert await reasons(bench) == ["history expired"]


@pytest.fixture
async def hurried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Time runs a hundred times as fast: etcd keeps 3 s, and a silent watch is closed after 0.9 s."""
    monkeypatch.setattr(list_watch.ListWatch.__init__, "__kwdefaults__", {**DEFAULTS, "silence": 0.9})
    for name in ("STILL_SECONDS", "SETTLE_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(quiet, name, getattr(quiet, name) / 100)
    async with simulator(rules=WatchRules(scale=0.01), initializing=0) as api, rig(api, tmp_path) as made:
        yield made


@pytest.mark.parametrize("inventory", ["versions", "none"])
async def test_an_entry_that_stays_quiet_makes_no_gap(hurried: Rig, inventory: str) -> None:
    bench = hurried
    await note(bench, "only")
    await bench.start(source(inventory=inventory))
    assert await captured(bench, 1) == ["ADD only"]
    began = bench.api.simulator.store.compacted
    for n in range(160):  # 8 s: other resources live on, and history expires twice
        await bench.create(f"other-{n}")
        await asyncio.sleep(0.05)
    assert bench.api.simulator.store.compacted > began
    await note(bench, "late")
    assert await captured(bench, 1) == ["ADD late"]
    assert await reasons(bench) == []


async def test_the_gap_of_an_entry_on_events_makes_no_event_that_it_would_capture(bench: Rig) -> None:
    """Whatever ends each watch: every repair would find another Event of its own."""
    await bench.start(source())
    await bench.watching()
    bench.api.silence()
    await note(bench, "a")
    bench.api.faults.refuse_watches({"code": 500}, below=1_000_000)
    bench.api.cut_streams(mid_line=False)
    bench.api.silence(False)
    assert await captured(bench, 1) == ["~ADD a"]

    async def refused() -> bool:
        return bench.api.faults.refusals >= 5

    await bench.until(refused)
    assert [o["metadata"]["name"] for o in (await bench.api.list(*EVENTS))["items"]] == ["a"]
    assert [s.pending for s in await (await bench.open()).subscriptions()] == [0]


async def test_a_namespace_that_is_left_is_read_to_its_end_without_a_gap(
    bench: Rig, api: LocalSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "WATCH_SECONDS", (1.5, 1.5))
    monkeypatch.setattr(ending, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 5.0)
    labels = {"metadata": {"name": "one", "labels": {"env": "prod"}}}
    await api.create(*NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", **labels})
    await note(bench, "a", "one")
    await bench.start(source(namespaceSelector={"matchLabels": {"env": "prod"}}))
    assert await captured(bench, 1) == ["ADD a"]
    api.silence()
    await note(bench, "b", "one")
    await api.patch(*NAMESPACES, "", "one", {"metadata": {"labels": {"env": None}}})
    api.silence(False)
    assert sorted(await captured(bench, 3)) == ["ADD b", "~DELETE a", "~DELETE b"]
    assert [o["reason"] for o in (await api.list(*EVENTS))["items"] if "reason" in o] == []


def hold_back(monkeypatch: pytest.MonkeyPatch, lines: int, *, early: bool) -> list[watch.Watch]:
    """The next watch on `events` that has lines to send sends only so many, and ends at once if ``early``.

    Returned is the list that has this watch, once it was open.
    """
    changes, held = watch.Watch._changes, list[watch.Watch]()

    def first(self: watch.Watch, past: Iterable[Change]) -> Iterator[bytes]:
        found = list(changes(self, past))
        if held or not found or self.collection.kind.plural != "events":
            return iter(found)
        held.append(self)
        if early:
            asyncio.get_running_loop().call_soon(self.end)
        return iter(found[:lines])

    monkeypatch.setattr(watch.Watch, "_changes", first)
    return held


@pytest.mark.parametrize(
    ("lines", "early", "stays"),
    [
        pytest.param(1, True, [], id="a server that shuts down"),
        pytest.param(1, False, [], id="a watch whose time was over before all was sent"),
        pytest.param(0, True, [], id="a server that shuts down before it has sent anything"),
        pytest.param(0, False, ["d"], id="etcd is slow"),
    ],
)
async def test_an_end_in_order_does_not_show_that_a_namespace_was_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int, early: bool, stays: list[str]
) -> None:
    monkeypatch.setattr(stream, "INSTANT_SECONDS", 0.0)
    monkeypatch.setattr(ending, "QUIET_SECONDS", 0.1)
    labels = {"metadata": {"name": "one", "labels": {"env": "prod"}}}
    of_prod = source(namespaceSelector={"matchLabels": {"env": "prod"}})
    async with simulator(rules=WatchRules(scale=0.1)) as api, rig(api, tmp_path) as bench:
        await api.create(*NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", **labels})
        await note(bench, "a", "one")
        await bench.start(of_prod)
        assert await captured(bench, 1) == ["ADD a"]
        await bench.kill()
        for name in ["b", "c", *stays]:
            await note(bench, name, "one")
        for name in "bc":
            await api.delete(*EVENTS, "one", name)
        await api.patch(*NAMESPACES, "", "one", {"metadata": {"labels": {"env": None}}})
        held = hold_back(monkeypatch, lines, early=early)
        await bench.start(of_prod)
        last = [*(f"ADD {name}" for name in ["b", "c", *stays]), "DELETE b", "DELETE c"]
        assert await captured(bench, len(last)) == last
        assert sorted(await captured(bench, 1 + len(stays))) == [f"~DELETE {name}" for name in ["a", *stays]]
        assert held
        assert await reasons(bench) == []


async def test_what_kubecdc_writes_as_kubernetes_events_is_not_captured(bench: Rig) -> None:
    """Else the Event of a trigger that fails would be an event for it, and so on."""
    await bench.start(source(namespace="default"))
    await bench.watching()
    async with recording(bench.kubeconfig) as recorder:
        recorder.record("BreakerOpened", "503", kind="Sensor", name="post")
        await written(bench.api)
        await note(bench, "foreign")
        assert await captured(bench, 1) == ["ADD foreign"]
        await bench.kill()
        recorder.record("LeadLost", "503", kind="EventSource", name="workflows")
        await written(bench.api, 2)
        await bench.api.expire_history()
        await note(bench, "later")
        await bench.start(source(namespace="default"))
        assert await captured(bench, 1) == ["~ADD later"]
