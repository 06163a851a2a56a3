"""Faults, drawn at random from a seed and done while a load runs."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.apiserver.process import SimulatorProcess
from tests.apiserver.real import RealApiServer
from tests.harness.kinds import KILLS, OF_A_BUS, Kind
from tests.harness.ledger import AWAY, TAIL, TAKEN, Absence
from tests.harness.own_redis import OwnRedis
from tests.harness.processes import Process, until
from tests.harness.receiver import Behaviour
from tests.harness.servers import crash
from tests.harness.stack import Stack
from tests.harness.terms import leader
from tests.harness.writer import Writer

OF_THE_SERVER = {
    Kind.KILL_SERVER,
    Kind.RESTART_SERVER,
    Kind.EXPIRE_HISTORY,
    Kind.PAUSE_SERVER,
    Kind.PAUSE_ETCD,
}
STARTUP = 1.0  # seconds
LATE_REPLY = 0.4  # seconds
TORN = 40  # bytes before the end of a write: some of its last command
PATIENCE = 600.0  # seconds that a fault waits for its moment


@dataclass(frozen=True)
class Fault:
    """Something that happens once ``after`` changes are made; ``seconds``: for how long, 0 = over at once."""

    after: int
    kind: Kind
    seconds: float


def plan(rng: random.Random, changes: int, kinds: Mapping[Kind, int]) -> list[Fault]:
    """So many faults of each kind, spread over the load, in order. One kill in five keeps its victim down a while."""
    faults = []
    for kind, count in kinds.items():
        for _ in range(count):
            at_once = kind in KILLS and rng.random() < 0.8
            faults.append(
                Fault(int(changes * rng.uniform(0.05, 0.95)), kind, 0.0 if at_once else rng.uniform(0.5, 3.0))
            )
    return sorted(faults, key=lambda fault: fault.after)


class Unleashed:
    """Does the faults as the load comes to them, each in a task of its own, so that they overlap."""

    def __init__(self, stack: Stack, writer: Writer, rng: random.Random) -> None:
        self._stack = stack
        self._writer = writer
        self._rng = rng
        self._begun = len(writer.changes)
        self._server = asyncio.Lock()  # one fault of the API server at a time
        self._bus = asyncio.Lock()  # and one of the bus
        self._copies = asyncio.Lock()  # a copy is put back before the next is made
        # One strike at a time on each side, so that no victim is struck twice; and none while all watchers are down.
        self._watchers, self._workers = asyncio.Lock(), asyncio.Lock()

    async def run(self, faults: Sequence[Fault]) -> None:
        """Return when the last is over and everything runs again."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await until(lambda fault=fault: self._made() >= fault.after, PATIENCE, str(fault))  # type: ignore[misc]
                group.create_task(self._do(fault))

    def _made(self) -> int:
        return len(self._writer.changes) - self._begun

    async def _do(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.KILL_WATCHER | Kind.PAUSE_WATCHER:
                async with self._watchers:
                    end = await self._strike(fault, "watcher")
                await end
            case Kind.KILL_WORKER | Kind.PAUSE_WORKER:
                async with self._workers:
                    end = await self._strike(fault, "worker")
                await end
            case Kind.PAUSE_LEADER:
                async with self._watchers:
                    await self._pause_leader(fault.seconds)
            case kind if kind in OF_A_BUS:
                async with self._bus:
                    await _trouble(self._stack, fault)
            case Kind.BLACKOUT:
                async with self._watchers:
                    await self._blackout(fault.seconds, self._expire)
            case Kind.RESTORE | Kind.RESTORE_UNSEEN:
                async with self._copies:
                    await self._restore(fault)
            case _:
                async with self._server:
                    await _disturb(self._stack, fault)
        self._stack.count(fault.kind)

    async def _strike(self, fault: Fault, role: str) -> Awaitable[None]:
        """Strike one that has come to work; what is returned brings it back."""
        await until(lambda: self._at_work(role), PATIENCE, f"a {role} at work")
        name = self._rng.choice(self._at_work(role))
        if fault.kind in KILLS:
            await self._stack.kill(name)
            return self._restart(name, fault.seconds)
        self._stack.processes[name].signal(signal.SIGSTOP)
        return self._go_on(self._stack.processes[name], fault.seconds)

    def _at_work(self, role: str) -> list[str]:
        """Those that run long enough to have started up. Raises AssertionError if one has ended by itself."""
        processes = self._stack.processes
        ended = [n for n in processes if processes[n].returncode not in {None, -signal.SIGKILL}]
        assert not ended, "\n".join(processes[n].tail() for n in ended)
        return [n for n in processes if n.startswith(role) and processes[n].running and processes[n].age > STARTUP]

    async def _restart(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._stack.processes.restart(name)

    async def _go_on(self, process: Process, seconds: float) -> None:
        began = time.monotonic()
        await asyncio.sleep(seconds)
        process.signal(signal.SIGCONT)
        if process.name.startswith("worker"):
            self._stack.absences.append(Absence(began, time.monotonic()))
        else:
            self._stack.unsaved(began, time.monotonic())

    async def _pause_leader(self, seconds: float) -> None:
        """Long enough for another to lead; then it wakes up, and may be about to commit."""
        assert self._stack.bus.election
        await until(lambda: leader(self._stack.processes) is not None, PATIENCE, "a leader")
        name = leader(self._stack.processes)
        assert name
        self._stack.processes[name].signal(signal.SIGSTOP)
        await self._go_on(self._stack.processes[name], self._stack.bus.election.lease + seconds)

    async def _blackout(self, seconds: float, unseen: Callable[[], Awaitable[None]]) -> None:
        watchers = [name for name in self._stack.processes if name.startswith("watcher")]
        await until(lambda: self._at_work("watcher") == watchers, PATIENCE, "all watchers at work")
        for name in watchers:
            await self._stack.kill(name)
        await asyncio.sleep(seconds)
        await unseen()
        for name in watchers:
            self._stack.processes.restart(name)

    async def _expire(self) -> None:
        async with self._server:
            await _disturb(self._stack, Fault(0, Kind.EXPIRE_HISTORY, 0.0))

    async def _restore(self, fault: Fault) -> None:
        """Copy etcd now and put it back later; every other time versions grow past the undone ones at once."""
        server, writer = self._stack.server, self._writer
        async with self._server:
            kept = await writer.copy(server)
        await asyncio.sleep(fault.seconds)
        grow = self._rng.random() < 0.5

        async def put_back() -> None:
            async with self._server:
                highest = writer.version
                await writer.put_back(server, kept)
                if grow:
                    await server.write_past(str(highest))

        if fault.kind is Kind.RESTORE:
            await put_back()
            return
        async with self._watchers:
            await self._blackout(0.5, put_back)


async def _disturb(stack: Stack, fault: Fault) -> None:
    """What happens to the API server, where the Lease is renewed and the ConfigMap written; or to the receiver."""
    began = time.monotonic()
    await _disturbed(stack, fault)
    if fault.kind in OF_THE_SERVER:
        stack.unsaved(began, time.monotonic())


async def _disturbed(stack: Stack, fault: Fault) -> None:
    match fault.kind:
        case Kind.KILL_SERVER:
            await crash(stack.server)
        case Kind.RESTART_SERVER:
            await stack.server.restart()
        case Kind.EXPIRE_HISTORY:
            await stack.server.expire_history()
        case Kind.PAUSE_SERVER:
            stack.server.suspend()
            await asyncio.sleep(fault.seconds)
            stack.server.resume()
        case Kind.PAUSE_ETCD if isinstance(stack.server, RealApiServer):
            stack.server.suspend_etcd()
            await asyncio.sleep(fault.seconds)
            stack.server.resume_etcd()
        case Kind.CUT_STREAMS if isinstance(stack.server, SimulatorProcess):
            await stack.server.command("cut", mid_line=True)
        case Kind.REFUSE_WATCHES if isinstance(stack.server, SimulatorProcess):
            await stack.server.command("fail", status=503, count=3, path="watch=")
        case Kind.REFUSE:
            await stack.behave(Behaviour(status=503, seconds=fault.seconds))
        case Kind.HANG_UP:
            await stack.behave(Behaviour(hang_up=True, seconds=fault.seconds))
        case Kind.SLOW:
            await stack.behave(Behaviour(delay=0.2, seconds=fault.seconds))
        case _:
            raise ValueError(fault.kind)


async def _trouble(stack: Stack, fault: Fault) -> None:
    """What happens to the bus."""
    proxy = stack.bus.proxy
    assert proxy, fault
    began = time.monotonic()
    match fault.kind:
        case Kind.KILL_REDIS | Kind.LOSE_TAIL | Kind.FLUSH_SCRIPTS:
            await _trouble_redis(stack, fault)
            return
        case Kind.CUT_BUS:
            proxy.cut()
        case Kind.DROP_REPLIES:
            async with proxy.dropping():
                await asyncio.sleep(fault.seconds)
        case Kind.DELAY_REPLIES:
            async with proxy.delaying(LATE_REPLY):
                await asyncio.sleep(fault.seconds)
        case Kind.HANG_BUS:
            async with proxy.hanging():
                await asyncio.sleep(fault.seconds)
        case _:
            raise ValueError(fault.kind)
    if fault.kind is not Kind.CUT_BUS or not stack.bus.atomic:
        stack.absences.append(Absence(began, time.monotonic(), AWAY))


async def _trouble_redis(stack: Stack, fault: Fault) -> None:
    bus = stack.bus
    assert isinstance(bus, OwnRedis), fault
    began, cause = time.monotonic(), AWAY
    match fault.kind:
        case Kind.KILL_REDIS:
            await bus.process.kill()
            await asyncio.sleep(fault.seconds)
            await bus.start()
        case Kind.LOSE_TAIL:
            # Redis' own second is rarely a whole one; now and then the cut is in the middle of a transaction.
            mark = bus.mark() - int(fault.seconds * 1000) % 2 * TORN
            await asyncio.sleep(min(1.0, fault.seconds))
            await bus.lose_tail(max(0, mark))
            cause = TAIL
        case Kind.FLUSH_SCRIPTS:
            await bus.flush_scripts()
            return
        case _:
            raise ValueError(fault.kind)
    back = time.monotonic()
    stack.absences.append(Absence(began, back, cause))
    if cause == TAIL:
        # Signs of life went with it: others may take what a worker delivers from, until its next one.
        stack.absences.append(Absence(back, back + bus.heartbeat, TAKEN))
