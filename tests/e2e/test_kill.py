"""Nothing is lost whatever is killed: watchers, workers, the API server, Redis.

``KUBECDC_KILLS`` sets the number of SIGKILLs (15), ``KUBECDC_SEED`` the seed of load and faults (1).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.apiserver.process import SimulatorProcess
from tests.harness.api import WORKFLOWS, Api
from tests.harness.kinds import Kind
from tests.harness.load import Load
from tests.harness.own_redis import RedisStreams, RqQueues
from tests.harness.processes import Processes
from tests.harness.receiver import Behaviour
from tests.harness.servers import Server
from tests.harness.terms import quarrels, terms, watcher_logs
from tests.harness.trial import Trial, raise_stack
from tests.harness.writer import Writer
from tests.storage import redis_server

KILLS = int(os.environ.get("KUBECDC_KILLS", "15"))
SEED = int(os.environ.get("KUBECDC_SEED", "1"))
ROTATED = 5.0  # seconds after the load has begun: a process that is started then has the new key, and others not yet
CONCURRENCY = 64  # of a worker, by default: what its death can repeat at most
LEASE = 15.0  # seconds by default: a standby for a Lease waits that long after a death, one for a file does not


@pytest.mark.timeout(90 + 8 * KILLS)
async def test_nothing_is_lost_though_watchers_workers_and_the_api_server_are_killed(
    server: Server, tmp_path: Path
) -> None:
    workers_killed = KILLS // 2
    trial = Trial(
        Load(seed=SEED, objects=200, changes=5000, rate=5000 / max(20.0, 1.2 * KILLS)),
        {
            Kind.KILL_WATCHER: KILLS - workers_killed,
            Kind.KILL_WORKER: workers_killed,
            Kind.KILL_SERVER: 1,
            Kind.RESTART_SERVER: 1,
            Kind.BLACKOUT: 1,
        },
    )
    with Processes(tmp_path) as processes:
        stack = await raise_stack(tmp_path, server, processes)
        await stack.behave(Behaviour(delay=0.02, seconds=600))  # so that a death finds something in flight
        async with Api(stack.kubeconfig) as api:
            writer = Writer(api, WORKFLOWS)
            report = await trial.run(stack, writer)
        if isinstance(server, SimulatorProcess):
            assert committed(writer) == await logged(server), "the load does not know what the API server committed"
    print(f"seed {SEED}, {dict(sorted(stack.faults.items()))}, {writer.doubtful} writes read back\n{report}")
    assert stack.faults == {str(kind): count for kind, count in trial.faults.items()}
    assert report.made > 5000
    assert report.ok, str(report)
    assert report.deletions_seen + report.deletions_collapsed == report.deletions_made
    assert report.gaps > 0
    assert not report.unexplained, str(report)
    assert len(report.duplicates) <= CONCURRENCY * workers_killed


@pytest.mark.long
@pytest.mark.timeout(90 + 8 * KILLS)
@pytest.mark.parametrize("kind", [RedisStreams, RqQueues])
async def test_nothing_is_lost_on_redis_though_that_is_killed_too_and_comes_back_older(
    simulator: Server, tmp_path: Path, kind: type[RedisStreams | RqQueues]
) -> None:
    """Events are encrypted, and the key is rotated meanwhile."""
    redis_server.require()
    trial = Trial(
        Load(seed=SEED, objects=150, changes=1500, rate=1500 / max(15.0, KILLS)),
        {
            Kind.KILL_WATCHER: KILLS // 5,
            Kind.KILL_WORKER: KILLS // 2,
            Kind.KILL_REDIS: KILLS - KILLS // 5 - KILLS // 2,
            Kind.LOSE_TAIL: 2,
            Kind.DROP_REPLIES: 1,
            Kind.FLUSH_SCRIPTS: 1,
            Kind.PAUSE_LEADER: 1,
        },
    )
    with Processes(tmp_path) as processes:
        async with kind(processes, tmp_path / "redis").running() as bus:
            keys = bus.encrypt(tmp_path / "secrets")
            stack = await raise_stack(tmp_path, simulator, processes, bus, workers=("worker-1", "worker-2", "worker-3"))
            async with Api(stack.kubeconfig) as api:
                writer = Writer(api, WORKFLOWS)
                asyncio.get_running_loop().call_later(ROTATED, keys.rotate, "newer")
                report = await trial.run(stack, writer)
            taken = terms(watcher_logs(processes))
            found = quarrels(taken, await bus.committed() if isinstance(bus, RedisStreams) else [])
    print(f"seed {SEED}, {dict(sorted(stack.faults.items()))}, {len(taken)} epochs\n{report}")
    assert stack.faults == {str(kind): count for kind, count in trial.faults.items()}
    assert report.ok, str(report)
    assert (report.delivered, report.collapsed, report.synthetic) == (report.made, 0, 0)  # history was always there
    assert not report.unexplained, str(report)
    assert found == []


@pytest.mark.long
async def test_killing_watchers_alone_neither_collapses_nor_repeats(server: Server, tmp_path: Path) -> None:
    trial = Trial(Load(seed=SEED, objects=50, changes=1500, rate=150), {Kind.KILL_WATCHER: 6})
    with Processes(tmp_path) as processes:
        # No worker dies, so no claim has to lapse soon, nor may one on a busy machine.
        stack = await raise_stack(tmp_path, server, processes, redelivery={})
        async with Api(stack.kubeconfig) as api:
            report = await trial.run(stack, Writer(api, WORKFLOWS))
    assert report.ok, str(report)
    assert (report.delivered, report.collapsed) == (report.made, 0)
    assert report.deletions_seen == report.deletions_made
    assert report.duplicates == []
    assert report.synthetic == 0


async def test_a_standby_takes_over_at_once(server: Server, tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        stack = await raise_stack(
            tmp_path, server, processes, watchers=("watcher-1",), workers=("worker-1",), redelivery={}
        )
        standby = stack.start_watcher("watcher-2")
        await standby.wait_for("standing by")
        async with Api(stack.kubeconfig) as api:
            writer = Writer(api, WORKFLOWS)
            await writer.create("default", "before", {"spec": {}})  # the first write of all takes a real server 2 s
            died = await processes["watcher-1"].kill()
            change = await writer.create("default", "after", {"spec": {}})
            await stack.settle(writer.version, timeout=60)
        receipt = next(one for one in stack.receipts("relay/post") if one.uid == change.uid)
        print(f"taken over after {receipt.at - died:.3f} s")
        assert receipt.at - died < LEASE


def committed(writer: Writer) -> set[tuple[str, str, int | None]]:
    """What the load knows of its changes."""
    return {(change.action, change.uid, change.version) for change in writer.changes}


async def logged(server: SimulatorProcess) -> set[tuple[str, str, int | None]]:
    """The same, as the API server itself has it."""
    names = {"ADDED": "ADD", "MODIFIED": "UPDATE", "DELETED": "DELETE"}
    entries = await server.log(resource=WORKFLOWS.plural)
    return {(names[e["type"]], e["uid"], None if e["type"] == "DELETED" else int(e["rv"])) for e in entries}
