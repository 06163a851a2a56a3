"""Nothing is lost on SQS, Pub/Sub and RQ either, whatever is killed and however the connection to the broker fails.

On the real API server where there is one. ``KUBECDC_KILLS`` sets the number of SIGKILLs (15), ``KUBECDC_SEED`` the seed
of load and faults (1). SQS is played by ElasticMQ, Pub/Sub by the fake, with Pub/Sub's own shortest ackWait of 10 s.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.apiserver.real import assets
from tests.harness.api import WORKFLOWS, Api
from tests.harness.back_end import BackEnd
from tests.harness.buses import open_bus
from tests.harness.config_maps import CHECKPOINT, STATE, Writes, watched
from tests.harness.kinds import OF_A_BUS, Kind
from tests.harness.ledger import AWAY, DEATH, TWICE, UNSAVED
from tests.harness.load import Load
from tests.harness.processes import Processes
from tests.harness.receiver import Behaviour
from tests.harness.servers import Server, open_server
from tests.harness.stack import UNSAVED_SECONDS
from tests.harness.terms import quarrels, terms, watcher_logs
from tests.harness.trial import WATCHERS, WORKERS, Trial, raise_stack, verdict
from tests.harness.writer import Writer

KILLS = int(os.environ.get("KUBECDC_KILLS", "15"))
SEED = int(os.environ.get("KUBECDC_SEED", "1"))
CONCURRENCY = 64  # of a worker, by default: what its death can repeat at most
BATCH = 100  # events of a commit, at most
RATE = 60.0  # changes a second
SECONDS = 20.0  # of load, unless the kills take longer
CHECKPOINT_BYTES, STATE_BYTES = 900 << 10, 512 << 10  # what each ConfigMap may take
STATE_WRITES = 5  # a second, of each worker
AT_ONCE = 3  # writes that a take-over does not put off
pytestmark = [pytest.mark.long, pytest.mark.timeout(180 + 10 * KILLS)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """The real API server, or the simulator where there is none."""
    async with open_server("real" if assets() else "simulator", tmp_path / "server") as server:
        yield server


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
async def bus(request: pytest.FixtureRequest, processes: Processes, tmp_path: Path) -> AsyncIterator[BackEnd]:
    async with open_bus(request.param, processes, tmp_path) as bus:
        yield bus


@pytest.mark.parametrize("bus", ["sqs", "pubsub", "rq"], indirect=True)
async def test_nothing_is_lost_though_processes_are_killed_and_the_broker_does_not_answer(
    bus: BackEnd, server: Server, processes: Processes, tmp_path: Path
) -> None:
    watchers_killed = KILLS // 4
    workers_killed = KILLS - watchers_killed
    faults = {
        Kind.KILL_WATCHER: watchers_killed,
        Kind.KILL_WORKER: workers_killed,
        Kind.KILL_SERVER: 1,
        Kind.PAUSE_LEADER: 1,
        Kind.CUT_BUS: 2,
        Kind.DROP_REPLIES: 1,
        Kind.HANG_BUS: 1,
        Kind.KILL_REDIS: 1,
    }
    faults = {kind: count for kind, count in faults.items() if kind not in OF_A_BUS or kind in bus.faults}
    changes = int(RATE * max(SECONDS, 2.0 * KILLS))
    trial = Trial(Load(seed=SEED, objects=150, changes=changes, rate=RATE), faults)
    stack = await raise_stack(tmp_path, server, processes, bus)
    await stack.behave(Behaviour(delay=0.02, seconds=600))  # so that a death finds something in flight
    async with Api(stack.kubeconfig) as api:
        report = await trial.run(stack, Writer(api, WORKFLOWS))
    taken = terms(watcher_logs(processes))
    print(f"seed {SEED}, {dict(sorted(stack.faults.items()))}, {len(taken)} epochs\n{report}")
    assert stack.faults == {str(kind): count for kind, count in faults.items()}
    assert report.made >= changes
    assert report.ok, str(report)
    assert not report.unexplained, str(report)
    assert report.caused(DEATH) <= CONCURRENCY * workers_killed
    unsaved = 0 if bus.atomic else len(taken) * (BATCH + UNSAVED_SECONDS * RATE)
    assert report.caused(UNSAVED) + len(report.forgotten) <= unsaved
    assert sum(map(report.caused, (DEATH, AWAY, UNSAVED, TWICE))) == len(report.duplicates)
    assert quarrels(taken, []) == []


@pytest.mark.parametrize("bus", ["sqs", "pubsub"], indirect=True)
async def test_the_default_config_maps_are_small_written_seldom_and_enough_for_watchers_and_workers_that_start_again(
    bus: BackEnd, server: Server, processes: Processes, tmp_path: Path
) -> None:
    stack = await raise_stack(tmp_path, server, processes, bus, workers=WORKERS)
    await stack.behave(Behaviour(delay=0.2, seconds=600))  # a dozen in flight
    async with Api(stack.kubeconfig) as api, watched(api) as writes:
        checkpoint, state = writes[CHECKPOINT], writes[STATE]
        writer, begin = Writer(api, WORKFLOWS), time.monotonic()
        await Load(seed=SEED, objects=1500, changes=600, rate=RATE, deletions=0.0).run(writer)
        seconds, calm = time.monotonic() - begin, (len(checkpoint.times), len(state.times))
        starts = len(terms(watcher_logs(processes)))
        await stack.behave(Behaviour(status=503, seconds=2.0))  # attempts to count
        faults = {Kind.KILL_WATCHER: 2, Kind.KILL_WORKER: 2}
        await Trial(Load(seed=SEED, objects=1500, changes=600, rate=RATE), faults).run(stack, writer)
        for name in (*WATCHERS, *WORKERS):  # all at once, and nobody hands anything over
            await stack.kill(name)
        await Load(seed=SEED, objects=10, changes=30).run(writer)
        for name in (*WATCHERS, *WORKERS):
            processes.restart(name)
        report = await verdict(stack, writer)
        epochs = len(terms(watcher_logs(processes)))
    print(f"{calm[0]} writes in {seconds:.2f} s while nothing failed, {epochs} epochs\n{_described(writes)}\n{report}")
    assert report.ok, str(report)
    assert (report.delivered, report.gaps) == (report.made, 0)  # each leader went on from the checkpoint
    assert not report.unexplained, str(report)
    assert seconds / 4 <= calm[0] <= 1 + seconds + AT_ONCE * starts
    assert checkpoint.most_in(10.0) <= 11 + AT_ONCE * epochs
    assert checkpoint.largest <= CHECKPOINT_BYTES // 20  # about 1,500 objects
    assert calm[1] == 0, "what is delivered once costs no write of the state"
    assert state.times
    assert state.largest <= STATE_BYTES // 20
    assert state.most_in(5.0) <= 5 * STATE_WRITES * len(WORKERS)


def _described(writes: dict[str, Writes]) -> str:
    return "\n".join(
        f"{name}: {len(one.times)} writes, {one.most_in(1.0)} in a second and {one.most_in(10.0)} in ten at most, "
        f"{one.largest} bytes at most"
        for name, one in writes.items()
    )
