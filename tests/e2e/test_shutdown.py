"""SIGTERM ends each process with everything in flight acked or handed back.

That it ends within five seconds, whatever hangs, is in tests/cli/test_hangs.py.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.api import WORKFLOWS, Api
from tests.harness.ledger import Absence
from tests.harness.load import Load
from tests.harness.processes import Processes, until
from tests.harness.receiver import Behaviour
from tests.harness.servers import Server
from tests.harness.stack import Stack
from tests.harness.trial import judge, raise_stack
from tests.harness.writer import Writer

GRACE = 10.0  # seconds, on a busy machine
SOON = 20.0  # seconds; whoever waits for a claim to lapse waits for a minute
PATIENT = {"ackWait": "60s", "backoff": {"duration": "200ms", "factor": 2, "cap": "1s", "jitter": 0.2}}


@pytest.fixture
async def stack(simulator: Server, tmp_path: Path) -> AsyncIterator[Stack]:
    """A watcher and a worker, at work."""
    with Processes(tmp_path) as processes:
        yield await raise_stack(
            tmp_path, simulator, processes, watchers=("watcher-1",), workers=("worker-1",), redelivery=PATIENT
        )


@pytest.fixture
async def writer(stack: Stack) -> AsyncIterator[Writer]:
    async with Api(stack.kubeconfig) as api:
        yield Writer(api, WORKFLOWS)


async def test_a_worker_told_to_go_leaves_nothing_in_flight(stack: Stack, writer: Writer) -> None:
    await stack.behave(Behaviour(delay=0.3, seconds=60))
    await Load(seed=1, objects=100, changes=300).run(writer)
    await until(lambda: len(stack.receipts("relay/post")) > 20, 10, "a few requests")
    assert await stack.processes["worker-1"].stop(GRACE) == 0
    left = time.monotonic()
    stack.start_worker("worker-2")
    await until(lambda: stack.receipts("relay/post")[-1].at > left, SOON, "the next request")
    await stack.behave(Behaviour())
    await stack.settle(writer.version)
    report = await judge(stack, writer)
    assert report.ok, str(report)
    assert report.duplicates == []


async def test_a_worker_hands_back_what_the_receiver_does_not_answer(stack: Stack, writer: Writer) -> None:
    await stack.behave(Behaviour(delay=30, seconds=60))
    await Load(seed=1, objects=100, changes=100).run(writer)
    await until(lambda: len(stack.receipts("relay/post")) > 20, 10, "a few requests")
    told = time.monotonic()
    assert await stack.processes["worker-1"].stop(GRACE) == 0
    left = time.monotonic()
    await stack.behave(Behaviour())
    stack.start_worker("worker-2")
    await until(lambda: stack.receipts("relay/post")[-1].at > left, SOON, "the next request")
    await stack.settle(writer.version)
    stack.absences.append(Absence(told, left))
    report = await judge(stack, writer)
    assert report.ok, str(report)
    assert not report.unexplained


async def test_a_watcher_told_to_go_resumes_where_it_was(stack: Stack, writer: Writer) -> None:
    for seed in range(3):
        await stack.processes["watcher-1"].wait_for("leading")
        await Load(seed=seed, objects=100, changes=200).run(writer)
        assert await stack.processes["watcher-1"].stop(GRACE) == 0
        await Load(seed=seed, objects=20, changes=20).run(writer)
        stack.processes.restart("watcher-1")
    await stack.settle(writer.version)
    report = await judge(stack, writer)
    assert report.ok, str(report)
    assert (report.delivered, report.duplicates) == (report.made, [])


async def test_a_watcher_standing_by_goes_too(stack: Stack) -> None:
    standby = stack.start_watcher("watcher-2")
    await standby.wait_for("standing by")
    assert await standby.stop(GRACE) == 0
    assert stack.processes["watcher-1"].running
