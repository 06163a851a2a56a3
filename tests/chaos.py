"""A long run under every fault there is: ``make chaos``, or ``python -m tests.chaos --minutes 5 --seed 7``.

Rounds of a random load under random faults, one after another on the same bus; each ends with the ledger's judgment
of everything since the start. A failing round keeps its folder and names the seed that makes the same round again.
It runs on the real API server where KUBEBUILDER_ASSETS holds one. Where a Lease elects the leader, each round also
holds against each other who led and, on Redis Streams, what was committed.

``--load namespaces``: the objects are in namespaces that are made, labeled, left out and deleted at random. Redis does
not lose its last second then.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from _pytest.outcomes import Skipped

from tests.apiserver.real import RealApiServer, assets
from tests.harness.api import WORKFLOWS, Api
from tests.harness.back_end import BackEnd
from tests.harness.buses import BUSES, open_bus
from tests.harness.kinds import OF_A_BUS, REAL, RESTORES, SIMULATED, Kind
from tests.harness.ledger import Report
from tests.harness.load import Load
from tests.harness.namespace_trial import KINDS, NamespaceTrial
from tests.harness.namespaces import NAMESPACES, SELECTOR, NamespaceLoad
from tests.harness.own_redis import RedisStreams
from tests.harness.processes import Processes
from tests.harness.servers import open_server
from tests.harness.stack import Stack
from tests.harness.terms import quarrels, terms, watcher_logs
from tests.harness.trial import Trial, raise_stack
from tests.harness.writer import Writer

CHANGES = 3000  # a round
RATE, RATE_WITH_LEASE = 120.0, 60.0  # changes a second: a Lease takes its seconds to move
WORKERS = ("worker-1", "worker-2", "worker-3")
AUDIT = "10s"  # so that a restore that only an audit finds is found before the verdict
MOST = {
    Kind.KILL_WATCHER: 8,
    Kind.KILL_WORKER: 8,
    Kind.PAUSE_WATCHER: 2,
    Kind.PAUSE_WORKER: 2,
    Kind.KILL_SERVER: 1,
    Kind.RESTART_SERVER: 1,
    Kind.EXPIRE_HISTORY: 1,
    Kind.BLACKOUT: 2,
    Kind.RESTORE: 2,
    Kind.RESTORE_UNSEEN: 1,
    Kind.PAUSE_SERVER: 1,
    Kind.PAUSE_ETCD: 1,
    Kind.CUT_STREAMS: 2,
    Kind.REFUSE_WATCHES: 1,
    Kind.REFUSE: 1,
    Kind.HANG_UP: 1,
    Kind.SLOW: 1,
    Kind.PAUSE_LEADER: 1,
    Kind.KILL_REDIS: 2,
    Kind.LOSE_TAIL: 3,
    Kind.FLUSH_SCRIPTS: 2,
    Kind.CUT_BUS: 2,
    Kind.DROP_REPLIES: 2,
    Kind.DELAY_REPLIES: 1,
    Kind.HANG_BUS: 1,
}
WITH_LEASE = {Kind.KILL_WATCHER: 3, Kind.PAUSE_WATCHER: 1, Kind.BLACKOUT: 1, Kind.RESTORE: 1}  # or nobody ever leads
ALWAYS = {Kind.PAUSE_LEADER, Kind.LOSE_TAIL}  # what the terms and the checkpoint's number are there for


async def chaos(directory: Path, minutes: float, seed: int, kind: str, bus_kind: str) -> bool:
    """Run rounds until the time is over. False as soon as the ledger finds a fault of ours."""
    deadline = time.monotonic() + 60 * minutes
    async with AsyncExitStack() as exits:
        server = await exits.enter_async_context(open_server(kind, directory / "server"))
        processes = exits.enter_context(Processes(directory))
        bus = await exits.enter_async_context(open_bus(bus_kind, processes, directory))
        stack = await raise_stack(directory, server, processes, bus, workers=WORKERS, auditInterval=AUDIT)
        writer = Writer(await exits.enter_async_context(Api(stack.kubeconfig)), WORKFLOWS)
        round_ = 0
        while time.monotonic() < deadline:
            round_ += 1
            report = await _round(stack, writer, f"{seed}/{round_}")
            print(f"round {round_}, {len(writer.restores)} restores: {report}", flush=True)
            if not report.ok or report.unexplained or await _quarrels(stack):
                return False
    print("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(stack.faults.items())))
    return True


async def wander(directory: Path, minutes: float, seed: int, kind: str, bus_kind: str) -> bool:
    """As `chaos`, in namespaces that come and go."""
    deadline = time.monotonic() + 60 * minutes
    async with AsyncExitStack() as exits:
        server = await exits.enter_async_context(open_server(kind, directory / "server"))
        processes = exits.enter_context(Processes(directory))
        bus = await exits.enter_async_context(open_bus(bus_kind, processes, directory))
        api = await exits.enter_async_context(Api(server.kubeconfig(directory / "kubeconfig")))
        writer, namespaces, places = Writer(api, WORKFLOWS), Writer(api, NAMESPACES), NamespaceLoad(seed=0).places()
        await NamespaceLoad(seed=0).prepare(namespaces, places)
        stack = await raise_stack(
            directory, server, processes, bus, workers=WORKERS, auditInterval=AUDIT, namespaceSelector=SELECTOR
        )
        trial, round_ = NamespaceTrial(stack, writer, namespaces, places), 0
        while time.monotonic() < deadline:
            round_ += 1
            rng = random.Random(f"chaos/{seed}/{round_}")
            faults = {kind: count for kind, count in _drawn(stack, rng).items() if kind in KINDS}
            load = NamespaceLoad(seed=rng.randrange(10**9), changes=CHANGES // 3, rate=RATE_WITH_LEASE)
            verdict = await trial.run(load, faults)
            print(f"round {round_}, {len(writer.changes)} changes, {verdict}", flush=True)
            if verdict.wrong:
                return False
    print("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(stack.faults.items())))
    return True


async def _quarrels(stack: Stack) -> bool:
    """Whether two have led at once, where a Lease elects."""
    if not stack.bus.election:
        return False
    taken = terms(watcher_logs(stack.processes))
    committed = await stack.bus.committed() if isinstance(stack.bus, RedisStreams) else []
    epochs, holders = {event.epoch for event in committed}, {holding.holder for holding in taken}
    found = quarrels(taken, committed)
    print(f"epochs: {len(taken)} taken by {len(holders)} watchers, {len(epochs)} with commits, quarrels {len(found)}")
    print("".join(f"quarrel: {what}\n" for what in found[:10]), end="", flush=True)
    return bool(found)


async def _round(stack: Stack, writer: Writer, seed: str) -> Report:
    rng = random.Random(f"chaos/{seed}")
    faults = _drawn(stack, rng)
    rate = RATE_WITH_LEASE if stack.bus.election else RATE
    return await Trial(Load(seed=rng.randrange(10**9), changes=CHANGES, rate=rate), faults).run(stack, writer)


def _drawn(stack: Stack, rng: random.Random) -> dict[Kind, int]:
    """How many faults of each kind strike in a round."""
    chosen = {**MOST, **WITH_LEASE} if stack.bus.election else MOST
    faults = {kind: rng.randint(kind in ALWAYS, most) for kind, most in chosen.items()}
    never = (SIMULATED if isinstance(stack.server, RealApiServer) else REAL) | _spared(stack.bus)
    return {kind: count for kind, count in faults.items() if kind not in never}


def _spared(bus: BackEnd) -> set[Kind]:
    """What is not done to it. A ConfigMap goes back with the etcd that is restored; if its leader ends then too, what
    was deleted since is forgotten, as is documented."""
    spared = OF_A_BUS - set(bus.faults)
    return spared if bus.atomic else spared | RESTORES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--server", choices=["simulator", "real"], default="real" if assets() else "simulator")
    parser.add_argument("--bus", choices=BUSES, default="redis" if shutil.which("redis-server") else "sqlite")
    parser.add_argument("--load", choices=["objects", "namespaces"], default="objects")
    args = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="kubecdc-chaos-"))
    print(f"seed {args.seed}, {args.load}, {args.server}, {args.bus}, logs in {directory}", flush=True)
    run = wander if args.load == "namespaces" else chaos
    try:
        passed = asyncio.run(run(directory, args.minutes, args.seed, args.server, args.bus))
    except (Skipped, ImportError) as e:
        raise SystemExit(f"the bus {args.bus} cannot be run here: {e}") from e
    if not passed:
        options = f"--seed {args.seed} --server {args.server} --bus {args.bus} --load {args.load}"
        raise SystemExit(f"FAILED: {options}, logs in {directory}")


if __name__ == "__main__":
    main()
