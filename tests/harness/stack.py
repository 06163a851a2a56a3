"""The whole of kubecdc on one machine: an API server, watchers and workers over one bus, and a receiver.

Each is a process of its own, and everything they write lies in one directory.
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec

from kubecdc.errors import KubecdcError
from kubecdc.storage.contracts import CheckpointStore, Gap
from tests.harness.back_end import BackEnd, Observed
from tests.harness.ledger import UNSAVED, Absence, Receipt
from tests.harness.processes import Process, Processes
from tests.harness.receiver import Behaviour, printed, receipts
from tests.harness.servers import Server
from tests.harness.terms import terms, watcher_logs

KUBECDC = str(Path(sysconfig.get_path("scripts")) / "kubecdc")
WORKER_LOG = "workers.log"
QUIET = 0.5  # seconds without a request, after which nothing more is expected
UNSAVED_SECONDS = 1.5  # what a ConfigMap may lack: its write window, and a write
GAPS_SECONDS = 2.0  # between two looks for gaps: a ConfigMap has only the last ten


@dataclass
class Stack:
    """``manifests``: the folder that watchers and workers are given; ``program``: the command that they are, and that
    `run` runs. `absences` and `faults` are for the ledger."""

    directory: Path
    server: Server
    processes: Processes
    manifests: Path
    bus: BackEnd
    program: str = KUBECDC
    url: str = ""
    absences: list[Absence] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    _gaps: dict[str, dict[str, Gap]] = field(default_factory=dict)  # by key, and what was recorded

    @property
    def kubeconfig(self) -> Path:
        """An administrator's, of the API server."""
        path = self.directory / "kubeconfig"
        return path if path.exists() else self.server.kubeconfig(path)

    @property
    def received(self) -> Path:
        """The file that the receiver writes."""
        return self.directory / "received.jsonl"

    async def start_receiver(self, *, bodies: bool = False) -> str:
        """Start it and return its URL."""
        port = self.directory / "receiver.port"
        argv = [sys.executable, "-m", "tests.harness.receiver", "--out", str(self.received), "--port-file", str(port)]
        process = self.processes.start("receiver", [*argv, "--bodies"] if bodies else argv)
        self.url = f"http://127.0.0.1:{await process.wait_for_file(port)}"
        return self.url

    def start_watcher(self, name: str = "watcher-1") -> Process:
        return self._start("watch", name)

    def start_worker(self, name: str = "worker-1") -> Process:
        return self._start("work", name)

    def _start(self, command: str, name: str) -> Process:
        argv = [self.program, command, "-f", str(self.manifests), "--log-format", "json"]
        if command == "watch" or not self.bus.atomic:
            argv += ["--kubeconfig", str(self.kubeconfig)]
        if command == "watch" and self.bus.election:
            argv += self.bus.election.options
        # One file for all workers: its order is the order in which their `log` triggers wrote.
        return self.processes.start(name, argv, self.bus.environment, log=WORKER_LOG if command == "work" else "")

    async def run(self, *command: str) -> str:
        """Run a command of kubecdc with the manifests to its end, and return what it printed."""
        argv = [self.program, *command, "-f", str(self.manifests)]
        if not self.bus.atomic:
            argv += ["--kubeconfig", str(self.kubeconfig)]
        process = self.processes.start("-".join(command), argv, self.bus.environment)
        code = await process.wait(60.0)
        assert code == 0, process.tail()
        return process.output()

    async def kill(self, name: str) -> None:
        """SIGKILL; what a death explains is remembered."""
        died = await self.processes[name].kill()
        if name.startswith("worker"):
            self.absences.append(Absence(died, died))
        else:
            self.unsaved(died, died)

    def unsaved(self, since: float, until: float) -> None:
        """Remember that the leader may have changed, before it saved what it had published; the monotonic seconds are
        those of the fault."""
        if not self.bus.atomic:
            taken = terms(watcher_logs(self.processes))
            epoch = max((holding.epoch for holding in taken), default=0)
            self.absences.append(Absence(since - UNSAVED_SECONDS, until, UNSAVED, epoch))

    def count(self, fault: str) -> None:
        """Remember a fault for the report."""
        self.faults[str(fault)] = self.faults.get(str(fault), 0) + 1

    async def behave(self, behaviour: Behaviour) -> None:
        """Make the receiver misbehave."""
        body = msgspec.json.encode(behaviour)
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}/_behave", data=body) as answer:
            assert answer.status == 200

    def receipts(self, subscription: str) -> list[Receipt]:
        """What came for ``<sensor>/<trigger>`` so far."""
        return receipts(self.received).get(subscription, []) if self.received.exists() else []

    def printed(self, subscription: str) -> list[Receipt]:
        """What the `log` trigger of ``<sensor>/<trigger>`` wrote so far, from the log that all workers share."""
        return printed(self.directory / WORKER_LOG).get(subscription, [])

    async def gaps(self, key: str) -> list[Gap]:
        """The gaps that the watch ``<source>/<event name>`` recorded."""
        async with self.bus.observed(self.kubeconfig) as bus:
            return await self._remembered(bus, key)

    @asynccontextmanager
    async def gaps_remembered(self, *keys: str) -> AsyncIterator[None]:
        """Look for gaps again and again, so that `gaps` knows those too of which a ConfigMap has only the last ten."""

        async def look() -> None:
            async with self.bus.observed(self.kubeconfig) as bus:
                while True:
                    with suppress(KubecdcError):
                        for key in keys:
                            await self._remembered(bus, key)
                    await asyncio.sleep(GAPS_SECONDS)

        looking = None if self.bus.atomic else asyncio.create_task(look())
        try:
            yield
        finally:
            if looking:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking

    async def _remembered(self, bus: Observed, key: str) -> list[Gap]:
        found = await bus.checkpoints.gaps(key)
        if self.bus.atomic:
            return found
        known = self._gaps.setdefault(key, {})
        known.update({str(gap): gap for gap in found})
        return list(known.values())

    async def ready(self, timeout: float = 40.0) -> None:
        """Wait until there is a checkpoint, and each watch is past its first list."""
        async with self.bus.observed(self.kubeconfig) as bus:
            await self.wait(lambda: _past(bus.checkpoints, 0), timeout, "the first list", all_run=True)

    async def settle(self, version: int, timeout: float = 90.0) -> None:
        """Wait until each watch has passed the version, nothing is pending, and no request comes any more."""
        async with self.bus.observed(self.kubeconfig) as bus:
            await self.wait(lambda: _past(bus.checkpoints, version), timeout, f"the watches at version {version}")
        await self.drained(timeout)

    async def drained(self, timeout: float = 90.0) -> None:
        """Wait until nothing is pending, and no request comes any more."""
        async with self.bus.observed(self.kubeconfig) as bus:
            await self.wait(lambda: _drained(bus), timeout, "an empty backlog")
        size = -1
        while self.received.exists() and size != self.received.stat().st_size:
            size = self.received.stat().st_size
            await asyncio.sleep(QUIET)

    async def wait(
        self, condition: Callable[[], Awaitable[str]], timeout: float, what: str, *, all_run: bool = False
    ) -> None:
        """Wait until the condition returns no objection. Raises AssertionError with it, and all logs."""
        deadline = time.monotonic() + timeout
        while objection := await condition():
            ended = [name for name in self.processes if not self.processes[name].running]
            if time.monotonic() > deadline or (all_run and ended):
                why = f"{objection}, ended: {ended}"
                raise AssertionError(f"{what}: not within {timeout:g} s: {why}\n{self.processes.tails()}")
            await asyncio.sleep(0.1)


async def _past(store: CheckpointStore, version: int) -> str:
    checkpoints = await store.checkpoints()
    behind = [  # what was ended has no state any more
        c for c in checkpoints if (c.state.listing or int(c.state.position or 0) < version if c.state else not c.number)
    ]
    return "" if checkpoints and not behind else f"{behind or 'no checkpoint'}"


async def _drained(bus: Observed) -> str:
    pending = await bus.pending()
    return f"{pending} pending" if pending else ""
