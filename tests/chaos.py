"""A long run under every fault there is: ``make chaos``, or ``python -m tests.chaos --minutes 5 --seed 7``.

Rounds of a random load under random faults, one after another on the same bus; each ends with the ledger's judgement
of everything since the start. A failing round keeps its folder and names the seed that makes the same round again.
It runs on the real API server where KUBEBUILDER_ASSETS holds one.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from tests.apiserver.real import RealApiServer, assets
from tests.harness.api import WORKFLOWS, Api
from tests.harness.faults import REAL, SIMULATED, Kind
from tests.harness.ledger import Report
from tests.harness.load import Load
from tests.harness.processes import Processes
from tests.harness.servers import open_server
from tests.harness.stack import Stack
from tests.harness.trial import Trial, raise_stack
from tests.harness.writer import Writer

CHANGES = 3000  # a round
RATE = 120.0  # changes a second
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
}


async def chaos(directory: Path, minutes: float, seed: int, kind: str) -> bool:
    """Run rounds until the time is over. False as soon as the ledger finds a fault of ours."""
    deadline = time.monotonic() + 60 * minutes
    async with open_server(kind, directory / "server") as server:
        with Processes(directory) as processes:
            stack = await raise_stack(directory, server, processes, auditInterval=AUDIT)
            async with Api(stack.kubeconfig) as api:
                writer, round_ = Writer(api, WORKFLOWS), 0
                while time.monotonic() < deadline:
                    round_ += 1
                    report = await _round(stack, writer, f"{seed}/{round_}")
                    print(f"round {round_}, {len(writer.restores)} restores: {report}", flush=True)
                    if not report.ok or report.unexplained:
                        return False
    print("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(stack.faults.items())))
    return True


async def _round(stack: Stack, writer: Writer, seed: str) -> Report:
    rng = random.Random(f"chaos/{seed}")
    faults = {kind: rng.randint(0, most) for kind, most in MOST.items()}
    never = SIMULATED if isinstance(stack.server, RealApiServer) else REAL
    faults = {kind: count for kind, count in faults.items() if kind not in never}
    return await Trial(Load(seed=rng.randrange(10**9), changes=CHANGES, rate=RATE), faults).run(stack, writer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--server", choices=["simulator", "real"], default="real" if assets() else "simulator")
    args = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="kubecdc-chaos-"))
    print(f"seed {args.seed}, {args.server}, logs in {directory}", flush=True)
    if not asyncio.run(chaos(directory, args.minutes, args.seed, args.server)):
        raise SystemExit(f"FAILED: --seed {args.seed} --server {args.server}, logs in {directory}")


if __name__ == "__main__":
    main()
