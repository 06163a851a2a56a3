"""A whole installation in this process, of which every part may fail: API server, bus, watcher, worker, receiver."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from kubecdc.backoff import Backoff
from kubecdc.cli.buses import subscriptions_of
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.cli.output import Row
from kubecdc.cli.status import reporter, sources, subscriptions
from kubecdc.cli.status.look import Found, Looks
from kubecdc.cli.status.reporter import Reporter
from kubecdc.cli.status.rows import rows, rows_without_answer
from kubecdc.cluster.connection import Cluster
from kubecdc.current import Current
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus, Elector
from kubecdc.storage.contracts.types import ClusterAccess, Opening
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.opening import opened
from kubecdc.storage.sqlite.administration import registrations
from kubecdc.watcher import recovery, watcher
from kubecdc.watcher.capture import checkpoint_writer
from kubecdc.watcher.manifest import Entries, entries_of
from kubecdc.workers import worker
from kubecdc.workers.plan import Plan, plan_of
from tests.apiserver import WORKFLOWS, LocalSimulator, workflow
from tests.cli.rig import SOURCE
from tests.harness.processes import until
from tests.workers.peer import Peer, serving

ENTRY, NAME = "workflows/changed", "post/send"
REPORT_SECONDS = 0.05
Status = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """How it answers: with a status, or by cutting the connection, once ``open`` is set."""

    status: int = 200
    hangs_up: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        await self.open.wait()
        if self.hangs_up and request.transport is not None:
            request.transport.abort()
        return web.Response(status=self.status)


@dataclass
class Site:
    """``bus`` are fields of the EventBus's spec, ``trigger`` those of the Sensor's trigger, both before the start."""

    folder: Path
    api: LocalSimulator
    receiver: Receiver
    peer: Peer
    stack: AsyncExitStack
    bus: dict[str, Any] = field(default_factory=dict)
    trigger: dict[str, Any] = field(default_factory=dict)
    elector: Callable[[Bus, Cluster], Elector] = lambda bus, _: bus.elector
    watching: list[asyncio.Task[Any]] = field(default_factory=list)
    working: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def manifests(self) -> Manifests:
        about = {"apiVersion": "argoproj.io/v1alpha1"}
        given = (
            self.bus
            if self.bus.keys() & {"redis", "rq"}
            else {"sqlite": {"path": str(self.folder / "bus.db")}} | self.bus
        )
        redelivery = {"redelivery": {"backoff": {"duration": "50ms", "cap": "200ms"}, "maxDeliveries": 0}}
        bus = {"kind": "EventBus", "metadata": {"name": "default"}, "spec": redelivery | given}
        dependency = {"name": "d", "eventSourceName": "workflows", "eventName": "changed"}
        trigger = {"template": {"name": "send", "http": {"url": self.peer.url}}, **self.trigger}
        sensor = {"kind": "Sensor", "metadata": {"name": "post"}}
        sensor["spec"] = {"dependencies": [dependency], "triggers": [trigger]}
        path = self.folder / "manifests.yaml"
        path.write_text(yaml.safe_dump_all([{**about, **bus}, {**about, **sensor}, yaml.safe_load(SOURCE)]))
        return load([str(path)], stdin=sys.stdin)

    def open(self, manifest: EventBus, *, create: bool = False) -> Any:
        access = ClusterAccess(lambda: Cluster(str(self.api.kubeconfig(self.folder / "kubeconfig"))))
        return opened(manifest, Opening(holder="test", cluster=access, create=create))

    async def opened(self) -> Bus:
        """The bus, until the end of the test."""
        manifests = self.manifests
        bus: Bus = await self.stack.enter_async_context(self.open(manifests.buses["default"], create=True))
        await bus.register(subscriptions_of(manifests, manifests.buses["default"]))
        return bus

    async def watch(self, wall: Callable[[], float] = time.time) -> None:
        """Start a process that watches, called `watcher`."""
        bus, entries = await self.opened(), Current[Entries](entries_of(self.manifests.sources.values()))
        cluster = await self.stack.enter_async_context(Cluster(str(self.api.kubeconfig(self.folder / "kubeconfig"))))
        made = Reporter("default", bus, "watcher", entries=lambda: [ENTRY], wall=wall)

        async def run() -> None:
            try:
                await watcher.run(bus, entries, cluster, self.elector(bus, cluster))
            except Exception as e:
                self.watching[1].cancel()
                await made.last_words(e)

        self.watching = [asyncio.create_task(run()), asyncio.create_task(report(made))]

    async def work(self) -> None:
        """Start a process that works, called `worker`."""
        bus, manifests = await self.opened(), self.manifests
        made = Reporter("nothing to lead", bus, "worker", subscriptions=lambda: [NAME])
        redelivery = manifests.buses["default"].spec.redelivery
        plan = Current[Plan](plan_of(manifests.sensors.values()))
        running = worker.run(bus, plan, redelivery, stop=asyncio.Event())
        self.working = [asyncio.create_task(running), asyncio.create_task(report(made))]

    async def kill(self, tasks: list[asyncio.Task[Any]]) -> None:
        """End a process without a word."""
        for task in reversed(tasks):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def create(self, *names: str) -> None:
        for name in names:
            await self.api.create(*WORKFLOWS, "default", workflow(name))

    async def delivered(self, count: int) -> None:
        """Wait until so many events were delivered."""
        await until(lambda: len(self.peer.received) >= count, 60, f"{count} events")

    async def look(self, seconds: float = 60.0) -> list[Row]:
        """All rows, as the command has them."""
        manifests = self.manifests
        looks = Looks(manifests.buses["default"], manifests, self.open, time.time, seconds)
        try:
            answer = await looks.look()
        finally:
            await looks.close()
        if isinstance(answer, Found):
            return list(rows(answer))
        return list(rows_without_answer(looks.manifest, manifests, answer))

    async def until(self, name: str, verdict: str, cause: str, seconds: float = 60.0, *, by: str = "") -> Row:
        """Wait until the row of that name has the verdict, and a cause that matches; and ``by``, if it is given."""
        found: list[Row] = []
        try:
            async with asyncio.timeout(60):
                while True:
                    found = await self.look(seconds)
                    for row in found:
                        if (
                            row["name"] == name
                            and re.fullmatch(verdict, row["verdict"])
                            and re.search(cause, row["cause"])
                            and by in ("", row["by"])
                        ):
                            return row
                    await asyncio.sleep(0.05)
        except TimeoutError:
            told = "\n".join(f"{row['name']} {row['verdict']} {row['cause']}" for row in found)
            raise AssertionError(f"{name} is not {verdict} because of {cause!r}:\n{told}") from None


async def report(made: Reporter) -> None:
    """Report until it is cancelled, which a process that is killed does not tell."""
    while True:
        with suppress(Unavailable):
            await made.report()
        await asyncio.sleep(REPORT_SECONDS)


@asynccontextmanager
async def site(api: LocalSimulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A site at which nothing runs yet, and which takes short for long."""
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(checkpoint_writer, "BLOCKED", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(registrations, "LATELY", 1.0)
    monkeypatch.setattr(reporter, "PERIOD_SECONDS", 0.2)
    monkeypatch.setattr(sources, "BEHIND_SECONDS", 0.2)
    monkeypatch.setattr(subscriptions, "BEHIND_SECONDS", 0.5)
    monkeypatch.setattr(subscriptions, "FAILING_SECONDS", 0.2)
    receiver = Receiver()
    receiver.open.set()
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(serving(receiver.answer))
        made = Site(folder, api, receiver, peer, stack)
        try:
            yield made
        finally:
            receiver.open.set()
            await made.kill(made.watching)
            await made.kill(made.working)
