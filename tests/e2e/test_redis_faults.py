"""On Redis, one fault at a time: a zombie that leads on, a tail that is lost, a reply that is cut off."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.api import WORKFLOWS, Api
from tests.harness.back_end import QUICK
from tests.harness.ledger import DEATH, TAIL, Absence, Receipt, Report
from tests.harness.load import Load
from tests.harness.own_redis import RedisStreams
from tests.harness.processes import Processes, until
from tests.harness.servers import Server
from tests.harness.stack import Stack
from tests.harness.terms import Committed, leader, quarrels, terms, watcher_logs
from tests.harness.trial import SUBSCRIPTION, raise_stack, verdict
from tests.harness.writer import Writer
from tests.storage import redis_server

NAMESPACE = "default"
TAKEOVER = QUICK.lease + 8.0  # seconds, on a busy machine too
UNDONE = 50  # versions that a restore of etcd takes back, at least
pytestmark = pytest.mark.long


@dataclass
class Scene:
    """A stack on Redis, and who writes."""

    stack: Stack
    bus: RedisStreams
    writer: Writer

    async def make(self, *names: str) -> None:
        for name in names:
            await self.writer.create(NAMESPACE, name, {"spec": {}})

    def told(self, name: str) -> list[Receipt]:
        return [r for r in self.stack.receipts(SUBSCRIPTION) if r.partitionkey.endswith(f"/{name}")]

    async def arrived(self, *names: str, seconds: float = 30.0) -> None:
        for name in names:
            await until(lambda name=name: self.told(name), seconds, f"{name} at the receiver")  # type: ignore[misc]

    def newest(self) -> int:
        """The term that was taken last."""
        return terms(watcher_logs(self.stack.processes))[-1].epoch

    async def committed(self, name: str) -> list[Committed]:
        return [c for c in await self.bus.committed() if c.key.endswith(f"/{name}")]

    async def verdict(self) -> Report:
        """The ledger's, once nobody has led at once with another and nothing is twice in its stream."""
        report = await verdict(self.stack, self.writer)
        assert report.ok, f"{report}\n{self.stack.processes.tails()}"
        assert quarrels(terms(watcher_logs(self.stack.processes)), await self.bus.committed()) == []
        assert (report.delivered, report.collapsed) == (report.made, 0)
        return report


@asynccontextmanager
async def scene(server: Server, folder: Path, *watchers: str) -> AsyncIterator[Scene]:
    redis_server.require()
    with Processes(folder) as processes:
        async with RedisStreams(processes, folder / "redis").running() as bus:
            stack = await raise_stack(
                folder, server, processes, bus, watchers=watchers or ("watcher-1",), workers=("worker-1",)
            )
            async with Api(stack.kubeconfig) as api:
                yield Scene(stack, bus, Writer(api, WORKFLOWS))


async def test_a_zombie_leader_is_refused_stands_by_and_leads_again(simulator: Server, tmp_path: Path) -> None:
    """It is stopped with a commit on its way, for longer than its Lease; the commit comes to Redis when the next leader
    has done the same work, and then the zombie wakes up."""
    async with scene(simulator, tmp_path, "watcher-1", "watcher-2") as s:
        await s.make("before")
        await s.arrived("before")
        processes = s.stack.processes
        first = leader(processes)
        assert first
        (other,) = {"watcher-1", "watcher-2"} - {first}
        await processes[other].wait_for("standing by")
        async with s.bus.proxy.hanging(new=False):
            await s.make("between")
            await until(lambda: s.bus.proxy.holds(b"between"), 10, "the leader's commit")
            processes[first].signal(signal.SIGSTOP)
            await until(lambda: leader(processes) == other, TAKEOVER, "the other to lead")
            await s.arrived("between")
        processes[first].signal(signal.SIGCONT)
        await processes[first].wait_for("(?s)no longer the leader.*standing by")
        await s.make("after")
        await s.arrived("after")
        assert [(c.epoch, len(s.told("between"))) for c in await s.committed("between")] == [(s.newest(), 1)]
        await s.stack.kill(other)
        await until(lambda: leader(processes) == first, TAKEOVER, "the zombie to lead again")
        await s.make("again")
        report = await s.verdict()
        assert not [d for d in report.duplicates if d.cause != DEATH]
        assert [c.epoch for c in await s.committed("again")] == [s.newest()]


@pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
async def test_a_redis_that_lost_its_tail_is_given_it_again(simulator: Server, tmp_path: Path, is_up: bool) -> None:
    """The watcher stands beyond where Redis does, or was killed: it reads those changes again, under the same ids."""
    async with scene(simulator, tmp_path) as s:
        await s.make("same", "changed", "deleted")
        await s.arrived("same", "changed", "deleted")
        mark = s.bus.mark()
        await s.writer.patch(NAMESPACE, "changed", {"spec": {"n": 1}})
        await s.writer.delete(NAMESPACE, "deleted")
        await s.make("made")
        await s.arrived("made")
        await until(lambda: len(s.told("changed")) == len(s.told("deleted")) == 2, 10, "the tail at the receiver")
        since = min(s.told(name)[-1].at for name in ("changed", "deleted", "made"))
        if not is_up:
            await s.stack.kill("watcher-1")
        assert await s.bus.lose_tail(mark) > 0
        if not is_up:
            s.stack.processes.restart("watcher-1")
        await until(lambda: len(s.told("made")) == 2, 30, "the tail again")
        s.stack.absences.append(Absence(since - 1, s.told("made")[-1].at, TAIL))
        report = await s.verdict()
        repeated = {d.receipt.partitionkey.rpartition("/")[2] for d in report.duplicates}
        assert {"changed", "deleted", "made"} <= repeated
        assert {d.cause for d in report.duplicates} == {TAIL}
        assert ("reloading the checkpoint" in s.stack.processes["watcher-1"].output()) is is_up


async def test_a_restore_of_etcd_that_was_noticed_in_the_lost_tail_is_not_forgotten(
    simulator: Server, tmp_path: Path
) -> None:
    """Redis comes back as it was before the next timeline, and versions have grown past its position: none tells."""
    async with scene(simulator, tmp_path) as s:
        await s.make("same", "deleted")
        copy = await s.writer.copy(simulator)
        # More than a server writes by itself when it starts: the restored one still looks older.
        await simulator.write_past(str(s.writer.version + UNDONE))
        await s.writer.delete(NAMESPACE, "deleted")
        await s.make("made")
        await s.arrived("made")
        highest, mark, since = s.writer.version, s.bus.mark(), time.monotonic()
        await s.writer.put_back(simulator, copy)
        await until(lambda: any(r.timeline == 1 for r in s.told("same")), 30, "the next timeline")
        await simulator.write_past(str(highest))
        await s.bus.lose_tail(mark)
        await s.make("after")
        await s.arrived("after")
        s.stack.absences.append(Absence(since, time.monotonic(), TAIL))
        report = await verdict(s.stack, s.writer)
        assert report.ok, f"{report}\n{s.stack.processes.tails()}"
        assert {r.timeline for r in s.told("after")} == {2}


async def test_a_commit_whose_reply_is_cut_off_adds_nothing_twice(simulator: Server, tmp_path: Path) -> None:
    async with scene(simulator, tmp_path) as s:
        for n in range(5):
            s.bus.proxy.drop_reply(f"doubtful-{n}".encode())
            await s.make(f"doubtful-{n}")
            await s.arrived(f"doubtful-{n}")
            assert s.bus.proxy.dropped == n + 1
        async with s.bus.proxy.delaying(0.1):
            await Load(seed=1, objects=20, changes=60).run(s.writer)
        report = await s.verdict()
        assert report.duplicates == []
        assert len(await s.committed("doubtful-0")) == 1


async def test_a_watcher_killed_on_redis_resumes_where_its_last_commit_was(simulator: Server, tmp_path: Path) -> None:
    async with scene(simulator, tmp_path) as s:
        for seed in range(2):
            await Load(seed=seed, objects=40, changes=150).run(s.writer)
            await s.stack.kill("watcher-1")  # in the middle of the backlog, or just behind it
            await Load(seed=seed, objects=20, changes=20).run(s.writer)
            s.stack.processes.restart("watcher-1")
        report = await s.verdict()
        assert (report.duplicates, report.synthetic, report.gaps) == ([], 0, 0)
