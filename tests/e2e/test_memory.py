"""Memory is flat, however many events have passed.

``KUBECDC_EVENTS`` sets up to how many events it is measured (50,000).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.apiserver import WORKFLOWS, LocalSimulator, path_of, simulator, workflow
from tests.apiserver.objects import Writer
from tests.harness.processes import Processes
from tests.harness.sqlite_file import SqliteFile
from tests.harness.stack import Stack
from tests.harness.trial import manifests

FIRST = 10_000
LAST = int(os.environ.get("KUBECDC_EVENTS", "50000"))
GROWTH = 10 * 2**20  # bytes
OBJECTS = 200
AHEAD = 5000  # changes that may be made before their events are through
MERGE = "application/merge-patch+json"


@pytest.mark.long
@pytest.mark.timeout(60 + LAST // 250)
async def test_watcher_and_worker_do_not_grow_with_the_events_that_passed(tmp_path: Path) -> None:
    async with simulator(managed_fields=False) as server:
        with Processes(tmp_path) as processes:
            folder = tmp_path / "manifests"
            folder.mkdir()
            stack = Stack(tmp_path, server, processes, folder, SqliteFile(tmp_path / "bus.db"))
            url = await stack.start_receiver()
            (folder / "all.yaml").write_text(yaml.safe_dump_all(manifests(url, stack.bus)))
            watcher, worker = stack.start_watcher(), stack.start_worker()
            await stack.ready()
            await make(server, stack, 0, FIRST)
            before = watcher.memory(), worker.memory()
            await make(server, stack, FIRST, LAST)
            after = watcher.memory(), worker.memory()
    print(f"resident MiB {[n / 2**20 for n in before]}, then {[n / 2**20 for n in after]}")
    assert after[0] - before[0] < GROWTH
    assert after[1] - before[1] < GROWTH


async def make(server: LocalSimulator, stack: Stack, start: int, end: int) -> None:
    """Changes ``start`` to ``end``, written without HTTP to save time; returns when the last event is settled."""
    simulator = server.simulator
    for n in range(start, end):
        target = simulator.kinds.resolve(path_of(*WORKFLOWS, "default", f"wf-{n % OBJECTS}"))
        assert target
        if n < OBJECTS:
            await server.create(*WORKFLOWS, "default", workflow(target.name, n=n, padding="x" * 1000))
        else:
            simulator.routes.registry.patch(target, msgspec.json.encode({"spec": {"n": n}}), MERGE, Writer())
        if n % 50 == 0:
            await asyncio.sleep(0)  # the watch's turn
        if n % AHEAD == 0:
            await stack.settle(server.version)
    await stack.settle(server.version)
