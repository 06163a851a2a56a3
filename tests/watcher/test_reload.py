"""Entries that the manifests add, change and take away while the watcher is at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from kubecdc.backoff import Backoff
from kubecdc.current import Current
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.watcher import entries as module
from kubecdc.watcher import recovery
from kubecdc.watcher.manifest import EventSource
from kubecdc.watcher.namespaces import ending
from tests.apiserver import simulator
from tests.watcher.rig import KEY, NAME, SOURCE, SPEC, Rig, announced_once, event_source, rig, told
from tests.workers.test_metrics import exported

OTHER = f"{SOURCE}/other"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.0, 0.1, 0.0))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Rig]:
    async with simulator() as api, rig(api, tmp_path) as made:
        await (await made.open()).register([SPEC, SubscriptionSpec("test/other", SOURCE, "other")])
        yield made


def with_other(**entry: Any) -> EventSource:
    """The EventSource with another entry, on all workflows too."""
    source = event_source(**entry)
    source.spec.resource["other"] = event_source().spec.resource[NAME]
    return source


async def position(bench: Rig, key: str) -> str:
    found = await (await bench.open()).checkpoints.checkpoint(key)
    return found.state.position if found and found.state and not found.state.listing else ""


async def watched(bench: Rig, key: str) -> None:
    """Wait until its first list is committed."""

    async def listed() -> bool:
        return bool(await position(bench, key))

    await bench.until(listed)


async def test_an_entry_is_added_and_removed_and_the_other_one_is_not_touched(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    await bench.watching()
    open_before = set(bench.api.simulator._watches)
    with structlog.testing.capture_logs() as logs:
        bench.reload(with_other())
        await watched(bench, OTHER)
        bench.reload(event_source())

        async def named() -> bool:
            return any(line["event"] == module.REMOVED for line in logs)

        await bench.until(named)
    assert [line["watch"] for line in logs if line["event"] == module.REMOVED] == [OTHER]
    assert told(await bench.events()) == ["ADD a"]
    assert not exported(watch=OTHER)
    assert [line for line in logs if line.get("watch") == KEY] == []
    assert open_before == open_before & bench.api.simulator._watches
    assert await position(bench, OTHER), "its place is kept"


async def test_what_has_changed_until_then_is_told_before_an_entry_changes(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version of an object comes, none is collapsed by the list that another selection takes."""
    await bench.create("a", labels={"team": "ml"})
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    stopped = asyncio.Event()
    original = ending.read_on

    async def read_on(*given: Any) -> None:
        stopped.set()
        for n in range(3):
            await bench.update("a", {"spec": {"n": n}})
        await original(*given)

    monkeypatch.setattr("kubecdc.watcher.namespaces.watches.ending.read_on", read_on)
    bench.reload(event_source(filter={"labels": [{"key": "team", "value": "ml"}]}))
    await stopped.wait()
    events = await bench.events(marker_labels={"team": "ml"})
    assert told(events) == ["UPDATE a"] * 3
    assert not any(event.synthetic for event in events)
    announced_once(events)


async def test_an_entry_that_comes_back_goes_on_where_it_was(bench: Rig) -> None:
    await bench.create("a")
    await bench.start(with_other())
    assert told(await bench.events()) == ["ADD a"]
    kept = await position(bench, KEY)
    source = with_other()
    del source.spec.resource[NAME]
    with structlog.testing.capture_logs() as logs:
        bench.reload(source)

        async def named() -> bool:
            return any(line["event"] == module.REMOVED for line in logs)

        await bench.until(named)
        await bench.update("a", {"spec": {"n": 1}})
        await bench.delete("a")
        bench.reload(with_other())
        events = await bench.events()
    assert told(events) == ["UPDATE a", "DELETE a"]
    assert kept and not await (await bench.open()).checkpoints.gaps(KEY)
    announced_once(events)


async def test_other_namespaces_of_an_entry_begin_and_end_and_the_one_that_stays_goes_on(bench: Rig) -> None:
    for namespace in ("one", "two", "three"):
        await bench.api.make_namespaces(namespace)
        await bench.create(namespace, namespace=namespace)
    await bench.start(event_source(namespaces=["one", "two"]))
    assert sorted(told(await bench.events(namespace="two"))) == ["ADD one", "ADD two"]
    bench.reload(event_source(namespaces=["two", "three"]))
    await watched(bench, f"{KEY}/three")
    await bench.update("two", {"spec": {"n": 1}}, namespace="two")
    events = await bench.events(namespace="three")
    assert sorted(told(events)) == ["ADD three", "UPDATE two", "~DELETE one"]
    assert not await (await bench.open()).checkpoints.gaps(f"{KEY}/two")
    announced_once(events)


async def test_a_standby_leads_with_the_entries_that_came_meanwhile(bench: Rig) -> None:
    await bench.create("a")
    bus = await bench.open()
    async with bus.elector.lead():
        await bench.start()
        bench.reload(event_source(filter={"labels": [{"key": "team", "value": "ml"}]}))
        await bench.create("b", labels={"team": "ml"})
    assert told(await bench.events(marker_labels={"team": "ml"})) == ["ADD b"]


async def test_an_end_that_cannot_read_on_waits_no_longer_than_its_patience(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.5)
    await bench.create("a")
    await bench.start(with_other())
    assert told(await bench.events()) == ["ADD a"]
    bench.api.fail(503, path="workflows")
    source = with_other()
    del source.spec.resource["other"]
    with structlog.testing.capture_logs() as logs:
        bench.reload(source)

        async def named() -> bool:
            return any(line["event"] == module.REMOVED for line in logs)

        await bench.until(named)
    assert [line["watch"] for line in logs if "before all changes were read" in line["event"]] == [OTHER]


async def test_a_value_is_awaited_until_it_is_the_one() -> None:
    current = Current(1)
    waiting = asyncio.create_task(current.until(lambda value: value > 2))
    after = asyncio.create_task(current.after(1))
    for value in (2, 3):
        await asyncio.sleep(0)
        assert not waiting.done()
        current.replace(value)
    async with asyncio.timeout(60):
        await asyncio.gather(waiting, after)
