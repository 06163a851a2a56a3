"""Namespaces that come and go, as those of CI jobs and previews do: nothing is left of them.

``KUBECDC_NAMESPACES`` sets how many (60); 5,000 take about seven minutes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from kubecdc.backoff import Backoff
from kubecdc.storage.contracts import CheckpointDelta, Term
from kubecdc.watcher import metrics, recovery
from kubecdc.watcher.namespaces import selected
from tests.apiserver import NAMESPACES, WORKFLOWS, LocalSimulator, simulator, workflow
from tests.apiserver.watch import WatchRules
from tests.cli.rig import Desk, Running
from tests.exported import REGISTRY
from tests.harness.processes import memory
from tests.watcher.namespaces import PROD, keys, labelled, namespace
from tests.watcher.rig import KEY, Rig, told

COUNT = int(os.environ.get("KUBECDC_NAMESPACES", "60"))
AT_A_TIME = 20
WARM = 100  # namespaces until the process has what it needs for good
GROWTH = 6 << 20  # bytes, however many namespaces there were


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    """Its bookmarks come ten times as soon: a namespace that is left is read up to one."""
    async with simulator(rules=WatchRules(scale=0.1), initializing=0) as server:
        yield server


def exported() -> set[str]:
    """The watches of this entry that have metric series."""
    return set(re.findall(f'watch="({KEY}[^"]*)"', generate_latest(REGISTRY).decode()))


async def come_and_go(bench: Rig, start: int, count: int) -> None:
    names = [f"pr-{n}" for n in range(start, start + count)]
    for name in names:
        await namespace(bench, name, "prod")
        await bench.create("w", namespace=name)
    await keys(bench, *(f"{KEY}/{name}" for name in (*names, "stays")))
    for name in names:
        await bench.api.delete(*WORKFLOWS, name, "w")
        await bench.api.delete(*NAMESPACES, "", name)

    async def gone() -> bool:
        return len(await (await bench.open()).checkpoints.checkpoints()) == 1

    await bench.until(gone, seconds=60)


async def printed(running: Running, what: str, count: int) -> None:
    """Wait until the log trigger has printed so many events of that type since the last call."""
    async with asyncio.timeout(60):
        while running.out.count(f'"type":"{what}"') < count:
            assert running.process.returncode is None, running.err
            await asyncio.sleep(0.02)
    running.out = ""


def instances() -> int:
    """How many objects of kubecdc's own classes there are."""
    gc.collect()
    return sum(str(type(found).__module__).startswith("kubecdc.") for found in gc.get_objects())


@pytest.mark.timeout(60 + COUNT)
async def test_nothing_is_left_of_namespaces_that_came_and_went(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(selected, "PAUSE_SECONDS", 0.01)
    before, known = exported(), set(metrics._series)  # by the tests that ran in this process before
    await namespace(bench, "stays", "prod")
    await bench.start(PROD)
    await come_and_go(bench, 0, AT_A_TIME)
    assert len(await bench.events(namespace="stays")) == 2 * AT_A_TIME
    tasks, objects = len(asyncio.all_tasks()), instances()
    for start in range(AT_A_TIME, COUNT, AT_A_TIME):
        await come_and_go(bench, start, AT_A_TIME)
        events = await bench.events(namespace="stays")
        assert sorted(told(events)) == ["ADD w"] * AT_A_TIME + ["DELETE w"] * AT_A_TIME
    assert [c.key for c in await (await bench.open()).checkpoints.checkpoints()] == [f"{KEY}/stays"]
    assert exported() - before <= {f"{KEY}/stays"} <= exported()
    assert {watch for watch in metrics._series if watch.startswith(KEY)} - known <= {KEY, f"{KEY}/stays"}
    assert len(asyncio.all_tasks()) <= tasks + 5
    assert instances() <= objects + 50


@pytest.mark.timeout(120 + COUNT)
async def test_a_process_does_not_grow_with_the_namespaces_that_are_gone(api: LocalSimulator, tmp_path: Path) -> None:
    """The simulator, which keeps its history, is in this process; `kubecdc run` is another."""
    desk = Desk(tmp_path, api)
    desk.entry(namespaceSelector={"matchLabels": {"env": "prod"}})
    sizes: list[int] = []
    async with desk.running("run") as running:
        for start in range(0, WARM + COUNT, AT_A_TIME):
            for name in (names := [f"pr-{n}" for n in range(start, start + AT_A_TIME)]):
                await api.create(*NAMESPACES, "", labelled(name, "prod"))
                await api.create(*WORKFLOWS, name, workflow("w"))
            await printed(running, "ADD", AT_A_TIME)
            for name in names:
                await api.delete(*WORKFLOWS, name, "w")
                await api.delete(*NAMESPACES, "", name)
            await printed(running, "DELETE", AT_A_TIME)
            sizes.append(memory(running.process.pid))
        while await desk.rows("checkpoint", "show"):  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.2)
    warm, *_, last = sizes[WARM // AT_A_TIME :]
    print(f"{COUNT} namespaces: {(last - warm) / 2**20:.1f} MiB more than {warm / 2**20:.1f}")
    assert last - warm < GROWTH


async def test_checkpoints_that_earlier_versions_left_behind_are_removed(bench: Rig) -> None:
    await namespace(bench, "stays", "prod")
    bus = await bench.open()
    await bench.start(PROD)
    await keys(bench, f"{KEY}/stays")
    await bench.events(namespace="stays")
    (checkpoint,) = await bus.checkpoints.checkpoints()
    await bench.kill()
    bus = await bench.open()
    term = Term(await bus.checkpoints.newest_term(), "earlier")
    for name in ("pr-1", "pr-2"):
        await bus.checkpoints.acquire(f"{KEY}/{name}", term)
        assert checkpoint.state
        await bus.checkpoints.save(f"{KEY}/{name}", CheckpointDelta(follows=0, state=checkpoint.state), term=term)
        await bus.checkpoints.reset(f"{KEY}/{name}")
    assert len(await bus.checkpoints.checkpoints()) == 3
    await bench.start(PROD)

    async def gone() -> bool:
        return len(await (await bench.open()).checkpoints.checkpoints()) == 1

    await bench.until(gone)
