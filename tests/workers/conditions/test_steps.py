"""The conditions step in the pipeline: what fails there is counted, and a worker that was stopped changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from kubecdc.backoff import Backoff
from kubecdc.concurrency import INLINE_BYTES
from kubecdc.storage.contracts import Failures, StateEntry
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.workers import settlement
from kubecdc.workers.claim import Claim
from kubecdc.workers.conditions.expression import Expression
from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route
from tests.workers.conditions.test_half_met import Memory, half_met
from tests.workers.support import FakeTrigger, MemorySubscription, event, log_trigger, route, settings

LARGE = {"body": "x" * INLINE_BYTES}


class Steps:
    """A trigger that needs the events of `dep` and of `b`, on a bus in memory; it is given those of `dep`."""

    def __init__(self) -> None:
        self.state = Memory()
        self.subscription = MemorySubscription()
        self.trigger = FakeTrigger()
        self.route: Route = route(self.trigger, log_trigger())
        self.half_met = half_met(self.state, "dep && b", prints={"dep": "1", "b": "1"})
        self.route.expression = Expression.all_of(["dep", "b"])
        self.route.half_met = self.half_met

    async def meet(self) -> None:
        """An event of the other dependency is there."""
        await self.half_met.complete("b", event(99))

    @asynccontextmanager
    async def running(self, **given: object) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(consume(self.subscription, self.route, settings(**given), stop=stop))
        yield
        stop.set()
        async with asyncio.timeout(60):
            await task


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.setattr(settlement, "_BACKOFF", Backoff(duration=0.001, cap=0.001))
    return Steps()


async def test_an_error_in_the_step_is_logged_and_counts_as_a_failed_attempt(steps: Steps) -> None:
    steps.state.values["s/t", "met/"] = StateEntry(b"no JSON", "1")
    with capture_logs() as logs:
        async with steps.running(max_deliveries=3):
            (first,) = await steps.subscription.settled(event(1))
            steps.subscription.succeeded = 8
            last = steps.subscription.give(event(1), attempt=3, failures=Failures(1, 7))
            async with asyncio.timeout(60):
                await last.settled.wait()
    assert first.calls == ["start", "nack"]
    assert first.kept == Failures(1, 0)
    assert last.calls == ["start", "dead_letter"]
    assert last.reason.startswith("gave up after 3 attempts: DecodeError: JSON is malformed")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "the event failed unexpectedly before its trigger",
        "the event failed unexpectedly before its trigger",
        "dead letter",
    ]


async def test_a_large_event_that_ends_the_process_in_the_step_is_counted(steps: Steps) -> None:
    await steps.meet()
    async with steps.running():
        (completing,) = await steps.subscription.settled(event(1, data=LARGE))
        (kept,) = await steps.subscription.settled(event(2, data=LARGE))
        (small,) = await steps.subscription.settled(event(3))
    assert kept.calls == ["start", "withdraw", "ack"]
    assert completing.calls == ["start", "withdraw", "start", "ack"]
    assert small.calls == ["ack"], "what leaves a small event out costs nothing"


async def test_a_claim_that_was_not_extended_for_a_while_is_asked_for() -> None:
    subscription, wait = MemorySubscription(), timedelta(seconds=30)
    delivery = subscription.give(event(1), faults={"extend": [ClaimLost("another worker has it")]})
    claim = Claim(delivery, asyncio.get_running_loop().time())
    await claim.hold(wait)
    claim.kept -= 16
    with pytest.raises(ClaimLost):
        await claim.hold(wait)
    await claim.hold(wait)
    await claim.hold(wait)
    assert delivery.extended == 1


async def test_a_worker_whose_claim_is_lost_changes_nothing(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    await steps.meet()
    before = steps.state.values["s/t", "met/"]
    asked = asyncio.Event()

    async def hold(claim: Claim, _: timedelta) -> None:
        asked.set()
        raise ClaimLost("another worker has it")

    monkeypatch.setattr(Claim, "hold", hold)
    async with steps.running(), asyncio.timeout(60):
        lost = steps.subscription.give(event(1))
        await asked.wait()
    assert (lost.calls, steps.trigger.requests) == ([], [])
    assert steps.state.values["s/t", "met/"] == before
