"""One Lease, candidates of two kinds: ours and client-go's own, on a real API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.storage.contracts import CheckpointStore
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher.election.elector import LeaseElector
from kubecdc.watcher.election.lease import ClusterLeaseClient, Lease
from kubecdc.watcher.election.settings import LeaseSettings
from tests.apiserver import LEASES, RealApiServer, require_assets
from tests.harness.processes import Process, Processes, until

SETTINGS = LeaseSettings(
    name="mixed",
    duration=timedelta(seconds=4),
    renew_deadline=timedelta(seconds=3),
    retry_period=timedelta(seconds=0.5),
)
NEVER = float("inf")


class NoCheckpoints:
    """A store that has none."""

    async def newest_term(self) -> int:
        return 0


class Severed(ClusterLeaseClient):
    """A connection that can be cut."""

    cut = False

    async def get(self, *, seconds: float) -> Lease | None:
        self._may()
        return await super().get(seconds=seconds)

    async def update(self, document: dict[str, Any], *, seconds: float) -> Lease:
        self._may()
        return await super().update(document, seconds=seconds)

    def _may(self) -> None:
        if self.cut:
            raise ApiError("cut")


@dataclass
class Election:
    """Who led from when until when, by the time of day: ours as it was, client-go's as it said."""

    server: RealApiServer
    kubeconfig: Path
    processes: Processes
    leases: Severed
    elector: LeaseElector
    ours: list[list[float]] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    ended: dict[str, float] = field(default_factory=dict)  # candidates of client-go that were killed
    candidates: dict[str, Process] = field(default_factory=dict)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def stand(self) -> None:
        """Have ours stand for election, over and over, until told to leave; it may lose the lead."""
        self.leave.clear()
        self.task = asyncio.create_task(self._stand())

    async def _stand(self) -> None:
        while not self.leave.is_set():
            with suppress(LeadershipLost):
                async with self.elector.lead() as term:
                    self.terms.append(term.number)
                    self.ours.append([time.time(), NEVER])
                    try:
                        await self.leave.wait()
                    finally:
                        self.ours[-1][1] = time.time()

    async def go(self) -> None:
        self.leave.set()
        assert self.task is not None
        await self.task

    def start(self, name: str) -> Process:
        """A candidate of client-go's."""
        argv = [str(require_assets() / "elector"), "-kubeconfig", str(self.kubeconfig), "-id", name]
        argv += ["-lease-name", "mixed", "-lease-duration", "4s", "-renew-deadline", "3s", "-retry-period", "500ms"]
        self.candidates[name] = self.processes.start(name, argv)
        return self.candidates[name]

    async def kill(self, name: str) -> None:
        await self.candidates[name].kill()
        self.ended[name] = time.time()

    @property
    def we_lead(self) -> bool:
        return bool(self.ours) and self.ours[-1][1] == NEVER

    def theirs(self) -> list[list[float]]:
        spans: list[list[float]] = []
        for name, process in self.candidates.items():
            mine: list[list[float]] = []
            for line in process.output().splitlines():
                if not line.startswith("{"):
                    continue
                said = msgspec.json.decode(line)
                moment = datetime.fromisoformat(said["time"]).timestamp()
                if said["event"] == "leading":
                    mine.append([moment, NEVER])
                elif said["event"] == "stopped" and mine:
                    mine[-1][1] = moment
            if mine and mine[-1][1] == NEVER:
                mine[-1][1] = self.ended.get(name, NEVER)
            spans += mine
        return spans

    def never_together(self) -> None:
        spans = sorted(self.ours + self.theirs())
        for (_, end), (start, _) in pairwise(spans):
            assert end <= start, spans

    async def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.server.get(*LEASES, "default", "mixed"))["spec"]
        return found


@pytest.fixture
async def election(tmp_path: Path) -> AsyncIterator[Election]:
    if not (require_assets() / "elector").is_file():
        pytest.skip("KUBEBUILDER_ASSETS does not hold client-go's elector")
    server = RealApiServer(tmp_path / "server")
    await server.start()
    try:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        with Processes(tmp_path) as processes:
            async with Cluster(str(kubeconfig)) as cluster:
                leases = Severed(cluster, "default", "mixed")
                store = cast(CheckpointStore, NoCheckpoints())
                yield Election(
                    server, kubeconfig, processes, leases, LeaseElector(leases, store, SETTINGS, holder="ours")
                )
    finally:
        await server.stop()


async def test_ours_and_client_go_hand_over_by_release_both_ways(election: Election) -> None:
    election.stand()
    await until(lambda: election.we_lead, 5, "ours leads")
    theirs = election.start("client-go")
    await theirs.wait_for('"leader":"ours/')
    await election.go()
    await theirs.wait_for('"leading"', 3)
    assert election.theirs()[0][0] - election.ours[0][1] < 3.0
    assert (await election.spec())["leaseTransitions"] == 1
    election.stand()
    await asyncio.sleep(5)  # longer than the lease lasts without renewal
    assert not election.we_lead
    await theirs.stop()
    await until(lambda: election.we_lead, 8, "ours leads again")
    spec = await election.spec()
    assert (spec["leaseTransitions"], spec["holderIdentity"]) == (2, election.elector.identity)
    await election.go()
    election.never_together()
    assert (len(election.ours), len(election.theirs())) == (2, 1)


@pytest.mark.long
async def test_ours_and_client_go_hand_over_by_expiry_both_ways(election: Election) -> None:
    theirs = election.start("client-go")
    await theirs.wait_for('"leading"')
    election.stand()
    await asyncio.sleep(1)
    await election.kill("client-go")
    dead = time.time()
    await until(lambda: election.we_lead, 10, "ours leads")
    assert 3.0 < election.ours[0][0] - dead < 6.0  # lease duration + 2 s
    heir = election.start("client-go-2")
    await heir.wait_for('"leader":"ours/')
    await asyncio.sleep(5)
    assert election.we_lead
    election.leases.cut = True
    cut = time.time()
    await until(lambda: not election.we_lead, 8, "ours stops by itself")
    assert election.ours[0][1] - cut < 3.9  # the renew deadline, and in any case before the lease's 4 s
    await heir.wait_for('"leading"', 10)
    assert (await election.spec())["leaseTransitions"] == 2
    election.leases.cut = False
    await asyncio.sleep(2)
    await heir.stop()
    await until(lambda: election.we_lead, 8, "ours leads again")
    await election.go()
    election.never_together()
    assert (len(election.ours), len(election.theirs())) == (2, 2)
    # What client-go wrote in between kept the epoch, and the mark of what is not captured.
    lease = await election.server.get(*LEASES, "default", "mixed")
    annotations = {"kubecdc.io/epoch": str(election.terms[-1]), "kubecdc.io/internal": "true"}
    assert lease["metadata"]["annotations"] == annotations


async def test_several_of_both_kinds_never_lead_together_whoever_dies(election: Election) -> None:
    election.stand()
    for name in ("client-go-1", "client-go-2", "client-go-3"):
        election.start(name)
        await until(lambda: election.we_lead or any(end == NEVER for _, end in election.theirs()), 8, "a leader")
        await asyncio.sleep(1)
        leader = (await election.spec())["holderIdentity"]
        if leader in election.candidates:
            await election.kill(leader)
        else:
            await election.go()
            await until(lambda: any(end == NEVER for _, end in election.theirs()), 8, "client-go leads")
            election.stand()
    for name, process in election.candidates.items():
        if name not in election.ended:
            await process.stop()
    await until(lambda: election.we_lead, 8, "ours leads")
    await election.go()
    election.never_together()
