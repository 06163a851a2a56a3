"""The API server restarted, history expired, etcd put back to an older copy, with the watcher up and with it down: the
receiver ends with the true final state of every object and the deletion of every object announced."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.api import WORKFLOWS, Api
from tests.harness.ledger import Receipt, Report
from tests.harness.load import SENTINEL, Load
from tests.harness.processes import Processes, until
from tests.harness.servers import Server, crash
from tests.harness.stack import Stack
from tests.harness.trial import SUBSCRIPTION, raise_stack, verdict
from tests.harness.writer import Writer

pytestmark = pytest.mark.long
WATCHER = "watcher-1"
NAMESPACE = "default"
UNDONE = 500


@dataclass
class Scene:
    """One watcher, one worker, and who writes."""

    stack: Stack
    writer: Writer

    @property
    def server(self) -> Server:
        return self.stack.server

    async def make(self, *names: str) -> None:
        for name in names:
            await self.writer.create(NAMESPACE, name, {"spec": {"n": 0}})

    async def change(self, *names: str) -> None:
        for name in names:
            await self.writer.patch(NAMESPACE, name, {"spec": {"n": random.randrange(10**6)}})

    async def delete(self, *names: str) -> None:
        for name in names:
            await self.writer.delete(NAMESPACE, name)

    async def down(self) -> None:
        await self.stack.kill(WATCHER)

    async def up(self) -> None:
        self.stack.processes.restart(WATCHER)
        await self.stack.processes[WATCHER].wait_for('"listed"|leading')

    def told(self) -> list[Receipt]:
        return self.stack.receipts(SUBSCRIPTION)

    async def caught_up(self) -> None:
        """All that was written so far has been delivered."""
        last = self.writer.changes[-1]
        await until(
            lambda: any(r.uid == last.uid and r.tag == last.tag for r in self.told()), 30, f"the delivery of {last}"
        )

    async def verdict(self) -> Report:
        report = await verdict(self.stack, self.writer)
        assert report.ok, f"{report}\n{self.stack.processes.tails()}"
        return report


@asynccontextmanager
async def scene(server: Server, folder: Path, **entry: object) -> AsyncIterator[Scene]:
    with Processes(folder) as processes:
        names = {"watchers": (WATCHER,), "workers": ("worker-1",)}
        stack = await raise_stack(folder, server, processes, **names, **entry)  # type: ignore[arg-type]
        async with Api(stack.kubeconfig) as api:
            yield Scene(stack, Writer(api, WORKFLOWS))


@pytest.mark.timeout(400)
async def test_each_fault_of_the_api_server_under_load_with_the_watcher_up_and_down(
    server: Server, tmp_path: Path
) -> None:
    async with scene(server, tmp_path, auditInterval="3s") as s:
        kept = await s.writer.copy(server)

        async def restore() -> None:
            await s.writer.put_back(server, kept)

        async def restore_and_write_past() -> None:
            highest = s.writer.version
            await s.writer.put_back(server, kept)
            await server.write_past(str(highest))

        faults = [lambda: crash(server), server.restart, server.expire_history, restore, restore_and_write_past]
        for seed, fault in enumerate(faults):
            for is_up in (True, False):
                await Load(seed=seed, objects=40, changes=60, rate=150).run(s.writer)
                kept = await s.writer.copy(server)
                if not is_up:
                    await s.down()
                over = asyncio.Event()

                async def strike(fault: object = fault, over: asyncio.Event = over) -> None:
                    await asyncio.sleep(0.5)
                    await fault()  # type: ignore[operator]
                    over.set()

                async with asyncio.TaskGroup() as group:
                    group.create_task(strike())
                    load = Load(seed=100 + seed, objects=40, changes=100, rate=150)
                    group.create_task(load.run(s.writer, longer=lambda over=over: not over.is_set()))  # type: ignore[misc]
                if not is_up:
                    await s.up()
                report = await s.verdict()
        print(report)
        assert len(s.writer.restores) == 4
        assert report.undone > 0


@pytest.mark.parametrize("past", [False, True], ids=["below", "past"])
@pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
async def test_what_a_restore_undid_is_announced_under_the_next_timeline(
    server: Server, tmp_path: Path, is_up: bool, past: bool
) -> None:
    """The versions stay below the watcher's position, or have grown past it when the watcher looks: then no version
    tells, and the audit finds it."""
    async with scene(server, tmp_path, auditInterval="2s") as s:
        await s.make("same", "changed", "deleted", "remade", "changed-both", SENTINEL)
        copy = await s.writer.copy(server)
        await s.change("changed", "changed-both")
        await s.delete("deleted", "remade")
        if not past:  # a real control plane writes by itself, and outgrows a few versions within seconds
            await server.write_past(str(s.writer.version + UNDONE))
        await s.make("made", "remade", "made-both", "zz-before")
        await s.caught_up()
        ahead = s.writer.version
        watcher = s.stack.processes[WATCHER]
        if not is_up:
            await s.down()
        elif past:
            watcher.signal(signal.SIGSTOP)  # alive, and does not look meanwhile
        await s.writer.put_back(server, copy)
        if past:
            await server.write_past(str(ahead))
        await s.change("changed-both")
        await s.make("made-both", "zz-after")
        if not is_up:
            await s.up()
        watcher.signal(signal.SIGCONT)
        report = await s.verdict()
        last = {r.partitionkey.rpartition("/")[2]: r for r in s.told()}
        undone = ["changed", "deleted", "remade", "made", "zz-before"]
        assert {name: last[name].timeline for name in undone} == dict.fromkeys(undone, 1)
        assert {name: last[name].action for name in ("made", "zz-before")} == dict.fromkeys(
            ("made", "zz-before"), "DELETE"
        )
        assert report.undone == 8
        assert [g.reason for g in await s.stack.gaps("workflows/changed")].count("versions ran backwards") >= 1


async def test_objects_made_anew_after_a_restore_that_only_the_audit_finds(server: Server, tmp_path: Path) -> None:
    """Versions have grown past, and nothing in the list is older than the inventory has it: each undone object is gone,
    or is another by its uid."""
    async with scene(server, tmp_path, auditInterval="2s") as s:
        await s.make("same", "deleted", SENTINEL)
        copy = await s.writer.copy(server)
        await s.make("made", "made-both")
        await s.delete("deleted")
        await s.make("deleted")
        await s.caught_up()
        ahead = s.writer.version
        await s.down()
        await s.writer.put_back(server, copy)
        await server.write_past(str(ahead))
        await s.make("made-both")
        await s.up()
        await s.change("made-both")
        await s.verdict()
