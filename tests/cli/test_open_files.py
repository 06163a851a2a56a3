"""One connection a watch: what there is to do when a process may not open as many files."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from kubecdc.cluster.open_files import RESERVED
from tests.apiserver import NAMESPACES, WORKFLOWS, simulator, workflow
from tests.apiserver.watch import WatchRules
from tests.cli.rig import Desk, Running
from tests.cli.scene import Scene
from tests.cli.silent import silent_server
from tests.workers.peer import saying, serving

NAMESPACE_COUNT = 300
FIT = 192  # watches: with what is reserved, 256 files


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with simulator(rules=WatchRules(scale=0.1), initializing=0) as api:
        yield Desk(tmp_path, api)


async def make(desk: Desk, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"env": "prod"}}}
    await desk.api.create(*NAMESPACES, "", body)
    await desk.api.create(*WORKFLOWS, name, workflow("w"))


@asynccontextmanager
async def watching(desk: Desk, soft: int, hard: int) -> AsyncIterator[Running]:
    """`kubecdc run` in a process with these limits of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with desk.running("run", preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))) as running:
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
        yield running


async def told(running: Running, count: int) -> None:
    async with asyncio.timeout(60):
        while running.out.count('"type":"ADD"') < count:
            assert running.process.returncode is None, running.err
            await asyncio.sleep(0.02)


@pytest.mark.long
async def test_the_soft_limit_is_raised(desk: Desk) -> None:
    desk.entry(namespaceSelector={"matchLabels": {"env": "prod"}})
    for n in range(NAMESPACE_COUNT):
        await make(desk, f"ns-{n}")
    async with watching(desk, soft=RESERVED + FIT, hard=4096) as running:
        await told(running, NAMESPACE_COUNT)
        assert not running.lines("open files") and not running.lines("this watch waits")


@pytest.mark.long
async def test_watches_that_do_not_fit_are_said_and_retried_and_end_nothing(desk: Desk) -> None:
    desk.entry(namespaceSelector={"matchLabels": {"env": "prod"}})
    for n in range(NAMESPACE_COUNT):
        await make(desk, f"ns-{n:03}")
    limit = RESERVED + FIT
    async with watching(desk, soft=limit, hard=limit) as running:
        await told(running, NAMESPACE_COUNT)  # each is listed
        (line,) = running.lines("not all watches fit into the limit of open files")
        assert (line["needed"], line["limit"]) == (NAMESPACE_COUNT + RESERVED, limit)
        assert "ulimit" in str(line["hint"])
        assert len(running.lines("this watch waits")) == 1, "all that wait have the same reason"
        assert not running.lines("cannot be reached") and not running.lines("none is left for a connection")
        # The namespaces' own watch is among those that fit, so what ends makes room for those that wait.
        for n in range(NAMESPACE_COUNT - FIT + 2):
            await desk.api.delete(*NAMESPACES, "", f"ns-{n:03}")
        last = [f"ns-{n:03}" for n in range(NAMESPACE_COUNT - FIT + 2, NAMESPACE_COUNT)]
        for name in last:
            await desk.api.create(*WORKFLOWS, name, workflow("late"))
        await told(running, NAMESPACE_COUNT + len(last))


@pytest.mark.long
async def test_a_worker_without_descriptors_says_so_goes_on_and_ends_when_told(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, serving(saying(200)) as receiver, silent_server() as silent:
        scene = Scene("files", tmp_path / "files", "uvloop", "", receiver, tmp_path, stack)
        scene.triggers["healthy"]["http"]["headers"] = {"Connection": "close"}
        scene.triggers["hangs"] = {"http": {"url": f"http://127.0.0.1:{silent.port}/", "timeout": 3}}
        await scene.owe(200)
        scene.start("work", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)))
        await scene.started.until("this process has no file descriptor left")
        await scene.healthy(200)
        scene.started.term()
        assert await scene.started.end() == 0
        assert "dead letter" not in scene.started.err
