"""What becomes of a delivery: the rules of the pipeline, on a bus in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubecdc.backoff import Backoff
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Failures, SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.workers import outdated, settlement
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.request import TriggerRequest
from tests.exported import REGISTRY
from tests.workers.support import (
    Behaviour,
    FakeTrigger,
    MemoryDelivery,
    MemorySubscription,
    event,
    http_trigger,
    log_trigger,
    route,
    settings,
    until,
)


@dataclass
class Consumer:
    subscription: MemorySubscription
    trigger: FakeTrigger
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def settle(self, *deliveries: MemoryDelivery) -> None:
        async with asyncio.timeout(5):
            for delivery in deliveries:
                await delivery.settled.wait()


@asynccontextmanager
async def consuming(
    behaviour: Behaviour | None = None, manifest: Mapping[str, Any] | None = None, **given: Any
) -> AsyncIterator[Consumer]:
    subscription, trigger, stop = MemorySubscription(), FakeTrigger(behaviour), asyncio.Event()
    task = asyncio.create_task(consume(subscription, route(trigger, manifest), settings(**given), stop=stop))
    yield Consumer(subscription, trigger, stop, task)
    stop.set()
    async with asyncio.timeout(5):
        await task


def answering(*outcomes: Outcome) -> Behaviour:
    left = list(outcomes)

    async def behaviour(request: TriggerRequest[Any]) -> Outcome:
        return left.pop(0)

    return behaviour


async def hang(request: TriggerRequest[Any]) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "_BACKOFF", Backoff(duration=0.001, cap=0.001))


async def test_success_is_acked_after_the_attempt_was_started() -> None:
    async with consuming() as c:
        delivery = c.subscription.give(event())
        await c.settle(delivery)
    assert delivery.calls == ["start", "ack"]
    [request] = c.trigger.requests
    assert (request.sensor, request.trigger, request.dependency) == ("s", "t", "dep")
    assert request.idempotency_key == "workflows/changed.uid-k.1.ADD/s/t"


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1.0), (2, 2.0), (3, 4.0)])
async def test_a_failed_attempt_is_returned_with_the_redelivery_backoff(attempt: int, delay: float) -> None:
    async with consuming(answering(Retry("503"))) as c:
        delivery = c.subscription.give(event(), attempt=attempt)
        await c.settle(delivery)
    assert delivery.calls == ["start", "nack"]
    assert delivery.delay == delay


@pytest.mark.parametrize(("after", "delay"), [(0.2, 1.0), (17.0, 17.0), (None, 1.0)])
async def test_retry_after_counts_where_it_is_longer(after: float | None, delay: float) -> None:
    async with consuming(answering(Retry("503", after))) as c:
        delivery = c.subscription.give(event())
        await c.settle(delivery)
    assert delivery.delay == delay


async def test_the_last_attempt_ends_as_a_dead_letter() -> None:
    async with consuming(answering(Retry("503")), max_deliveries=3) as c:
        c.subscription.succeeded = 8
        delivery = c.subscription.give(event(), attempt=3, failures=Failures(1, 7))
        await c.settle(delivery)
    assert delivery.calls == ["start", "dead_letter"]
    assert delivery.reason == "gave up after 3 attempts: 503"


async def test_a_failed_attempt_does_not_count_while_the_trigger_fails_for_all_events() -> None:
    async with consuming(answering(Retry("503")), max_deliveries=3) as c:
        c.subscription.succeeded = 7
        delivery = c.subscription.give(event(), attempt=30, failures=Failures(29, 7))
        await c.settle(delivery)
    assert (delivery.calls, delivery.kept) == (["start", "nack"], Failures(30, 7))


async def test_what_this_process_could_not_try_never_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubecdc.cluster.open_files.exhausted", lambda: True)
    with capture_logs() as logs:
        async with consuming(answering(Retry("cannot connect")), max_deliveries=3) as c:
            c.subscription.succeeded = 8
            delivery = c.subscription.give(event(), attempt=3, failures=Failures(1, 7))
            await c.settle(delivery)
    assert (delivery.calls, delivery.kept) == (["start", "nack"], Failures(1, settlement.NEVER))
    assert [line["reason"] for line in logs if line["event"] == "the trigger failed"] == [
        "this process has no file descriptor left: cannot connect"
    ]
    monkeypatch.undo()
    async with consuming(answering(Retry("503")), max_deliveries=3) as c:
        c.subscription.succeeded = 9
        delivery = c.subscription.give(event(), attempt=4, failures=Failures(1, settlement.NEVER))
        await c.settle(delivery)
    assert (delivery.calls, delivery.kept) == (["start", "nack"], Failures(2, 9))


async def test_a_success_from_before_a_failure_is_not_taken_for_one_after_it() -> None:
    """The bus is still being told of it when the other event fails."""
    told, failed = asyncio.Event(), asyncio.Event()

    async def behaviour(request: TriggerRequest[Any]) -> Outcome:
        if request.event.partitionkey == "a":
            return Success()
        failed.set()
        return Retry("503")

    async with consuming(behaviour) as c:
        success, failure = c.subscription.give(event(1, key="a")), c.subscription.give(event(2, key="b"))
        ack = success.ack

        async def slow_ack() -> None:
            await told.wait()
            await ack()
            c.subscription.succeeded += 1

        success.ack = slow_ack  # type: ignore[method-assign]
        async with asyncio.timeout(60):
            await failed.wait()
        told.set()
        await c.settle(success, failure)
    assert failure.kept == Failures(1, 1)


async def test_an_event_that_crashes_workers_is_not_run_again_after_max_deliveries() -> None:
    async with consuming(max_deliveries=3) as c:
        delivery = c.subscription.give(event(), attempt=4)
        in_an_outage = c.subscription.give(event(key="other"), attempt=44, failures=Failures(40, 0))
        await c.settle(delivery, in_an_outage)
    assert delivery.calls == in_an_outage.calls == ["dead_letter"]
    assert delivery.reason.startswith("gave up after 3 attempts")
    assert c.trigger.requests == []


async def test_the_reason_says_that_max_deliveries_was_lowered() -> None:
    async with consuming(max_deliveries=2) as c:
        delivery = c.subscription.give(event(), attempt=4)
        await c.settle(delivery)
    assert delivery.reason == "gave up after 3 attempts: maxDeliveries was lowered to 2 since"


async def test_a_failure_is_a_dead_letter_at_once() -> None:
    async with consuming(answering(Failure("400"))) as c:
        delivery = c.subscription.give(event())
        await c.settle(delivery)
    assert (delivery.calls, delivery.reason) == (["start", "dead_letter"], "400")


async def test_what_is_not_an_event_is_a_dead_letter() -> None:
    async with consuming() as c:
        delivery = c.subscription.give(b"nonsense")
        await c.settle(delivery)
    assert delivery.calls == ["dead_letter"]
    assert delivery.reason.startswith("not a CloudEvent")


async def test_what_is_nested_too_deep_to_be_read_is_a_dead_letter() -> None:
    deep = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    async with consuming() as c:
        delivery = c.subscription.give(event().encode().replace(b'"w1"', deep))
        await c.settle(delivery)
    assert delivery.calls == ["dead_letter"]


async def test_an_event_owed_under_an_older_dependency_is_a_dead_letter_without_a_run() -> None:
    async with consuming() as c:
        delivery = c.subscription.give(event(source="others"))
        await c.settle(delivery)
    assert delivery.calls == ["dead_letter"]
    assert "waits for workflows/changed now" in delivery.reason
    assert "an event of others/changed" in delivery.reason
    assert c.trigger.requests == []


@pytest.mark.parametrize("spec", [SubscriptionSpec("s/t", "others", "changed"), None])
async def test_an_event_of_a_dependency_that_a_newer_process_registered_waits_for_it(
    spec: SubscriptionSpec | None,
) -> None:
    with capture_logs() as logs:
        async with consuming() as c:
            c.subscription.spec = spec
            deliveries = [c.subscription.give(event(number, source="others")) for number in (1, 2)]
            await c.settle(*deliveries)
    assert [(d.calls, d.delay) for d in deliveries] == [(["nack"], outdated.SECONDS)] * 2
    assert c.trigger.requests == []
    assert len([line for line in logs if line["log_level"] == "warning"]) == 1


async def test_a_broken_parameter_is_a_dead_letter_with_the_reason() -> None:
    parameter = {"src": {"dependencyName": "dep", "dataKey": "body.nothing"}, "dest": "http.url"}
    async with consuming(manifest=http_trigger("http://x", parameters=[parameter])) as c:
        delivery = c.subscription.give(event())
        await c.settle(delivery)
    assert delivery.last == "dead_letter"
    assert "body.nothing" in delivery.reason
    assert c.trigger.requests == []


async def test_an_unexpected_error_is_logged_once_and_counts_as_a_failed_attempt() -> None:
    async def broken(request: TriggerRequest[Any]) -> Outcome:
        raise LookupError("a bug")

    with capture_logs() as logs:
        async with consuming(broken) as c:
            c.subscription.succeeded = 1
            first = c.subscription.give(event(1))
            second = c.subscription.give(event(2), attempt=20, failures=Failures(1, 0))
            await c.settle(first, second)
            c.trigger.behaviour = None
            third = c.subscription.give(event(3))
            await c.settle(third)
    assert (first.calls, first.delay) == (["start", "nack"], 1.0)
    assert second.reason == "gave up after 20 attempts: LookupError: a bug"
    assert third.last == "ack"
    assert len([line for line in logs if line.get("exc_info")]) == 2


async def test_a_cancellation_that_nobody_asked_for_counts_as_a_failed_attempt() -> None:
    async def broken(request: TriggerRequest[Any]) -> Outcome:
        raise asyncio.CancelledError

    async with consuming(broken) as c:
        delivery = c.subscription.give(event())
        await c.settle(delivery)
    assert (delivery.calls, delivery.delay) == (["start", "nack"], 1.0)


async def test_runs_dead_letters_and_lost_claims_are_counted() -> None:
    def count(name: str, **more: str) -> float:
        return REGISTRY.get_sample_value(name, {"sensor": "s", "trigger": "t", **more}) or 0.0

    def counts() -> list[float]:
        runs = [count("kubecdc_trigger_executions_total", result=r) for r in ("success", "retry", "failure")]
        outcomes = [
            count("kubecdc_deliveries_total", outcome=o)
            for o in ("acked", "retried", "returned", "dead_letter", "lost")
        ]
        names = ("kubecdc_trigger_duration_seconds_count", "kubecdc_change_to_ack_seconds_count")
        return runs + outcomes + [count(name) for name in names]

    before = counts()
    async with consuming(answering(Success(), Retry("503"), Failure("400"), Success())) as c:
        for number in range(3):
            await c.settle(c.subscription.give(event(number)))
        c.subscription.give(event(3), faults={"ack": [ClaimLost("lapsed")]})
        await until(lambda: len(c.trigger.finished) == 4)
        hanging = c.subscription.give(event(4))
        c.trigger.behaviour = hang
        await until(lambda: "start" in hanging.calls)
        assert count("kubecdc_deliveries_in_flight") == 1
        assert [a - b for a, b in zip(counts(), before, strict=True)] == [2, 1, 1, 1, 1, 0, 1, 1, 4, 1]
    assert count("kubecdc_deliveries_in_flight") == 0


async def test_retry_strategy_runs_within_one_attempt() -> None:
    strategy = {"steps": 3, "duration": "1ms", "jitter": 0}
    outcomes = answering(Retry("a"), Retry("b"), Success(), Retry("c"), Retry("d"), Retry("e"))
    async with consuming(outcomes, log_trigger(retryStrategy=strategy)) as c:
        good = c.subscription.give(event(1))
        await c.settle(good)
        bad = c.subscription.give(event(2))
        await c.settle(bad)
    assert (good.calls, bad.calls) == (["start", "ack"], ["start", "nack"])
    assert len(c.trigger.requests) == 6
    assert len({r.idempotency_key for r in c.trigger.requests[:3]}) == 1


async def test_an_unavailable_bus_is_told_until_it_knows() -> None:
    outage: list[Exception] = [Unavailable("locked")] * 7
    async with consuming(settle=5.0) as c:
        delivery = c.subscription.give(event(), faults={"start": outage[:2], "ack": outage})
        await c.settle(delivery)
    assert delivery.calls == ["start", "ack"]
    assert len(c.trigger.requests) == 1


@pytest.mark.parametrize("call", ["start", "ack"])
async def test_a_lost_claim_is_left_alone(call: str) -> None:
    async with consuming() as c:
        lost = c.subscription.give(event(1), faults={call: [ClaimLost("lapsed")]})
        fine = c.subscription.give(event(2))
        await c.settle(fine)
    assert not lost.settled.is_set()
    assert len(c.trigger.requests) == (1 if call == "start" else 2)


async def test_claims_are_extended_while_a_trigger_runs() -> None:
    release = asyncio.Event()

    async def slow(request: TriggerRequest[Any]) -> Outcome:
        await release.wait()
        return Success()

    async with consuming(slow, ack_wait=timedelta(seconds=0.03)) as c:
        deliveries = [c.subscription.give(event(n), faults={"extend": [Unavailable("locked")]}) for n in range(3)]
        await until(lambda: all(d.extended >= 3 for d in deliveries))
        release.set()
        await c.settle(*deliveries)
    assert {d.last for d in deliveries} == {"ack"}


async def test_a_claim_lost_while_a_trigger_runs_ends_it_unsettled() -> None:
    async with consuming(hang, ack_wait=timedelta(seconds=0.03)) as c:
        delivery = c.subscription.give(event(), faults={"extend": [ClaimLost("lapsed")]})
        await until(lambda: len(c.trigger.requests) == 1)
        await until(lambda: not delivery.faults["extend"])
        c.trigger.behaviour = None
        after = c.subscription.give(event(2))
        await c.settle(after)
    assert delivery.calls == ["start"]
    assert len(c.trigger.finished) == 1


async def test_at_a_stop_what_runs_may_finish() -> None:
    release = asyncio.Event()

    async def slow(request: TriggerRequest[Any]) -> Outcome:
        await release.wait()
        return Success()

    async with consuming(slow, grace=5.0) as c:
        delivery = c.subscription.give(event())
        await until(lambda: len(c.trigger.requests) == 1)
        c.stop.set()
        await asyncio.sleep(0.01)
        late = c.subscription.give(event(2))
        release.set()
        await c.task
    assert delivery.calls == ["start", "ack"]
    assert late.calls == []


async def test_at_a_stop_what_hangs_is_returned_for_at_once() -> None:
    async with consuming(hang) as c:
        delivery = c.subscription.give(event())
        await until(lambda: len(c.trigger.requests) == 1)
        c.stop.set()
        await c.task
    assert (delivery.calls, delivery.delay) == (["start", "withdraw", "nack"], 0.0)


async def test_at_a_stop_what_was_not_started_is_returned_uncounted() -> None:
    async with consuming() as c:
        deliveries = [
            c.subscription.give(event(n), faults={"start": [Unavailable("locked")] * 10_000}) for n in range(3)
        ]
        await until(lambda: all(len(d.faults["start"]) < 10_000 for d in deliveries))
        c.stop.set()
        await c.task
    assert [d.calls for d in deliveries] == [["nack"]] * 3
    assert [d.delay for d in deliveries] == [0.0] * 3


async def test_a_drain_ends_though_the_bus_does_not_answer() -> None:
    async with consuming(settle=0.05) as c:
        delivery = c.subscription.give(event(), faults={"ack": [Unavailable("gone")] * 100_000})
        await until(lambda: len(c.trigger.finished) == 1)
        c.stop.set()
        async with asyncio.timeout(2):
            await c.task
    assert delivery.calls == ["start"]


async def test_cancelling_the_consumer_drains_too() -> None:
    subscription, trigger = MemorySubscription(), FakeTrigger(hang)
    task = asyncio.create_task(consume(subscription, route(trigger), settings(), stop=asyncio.Event()))
    delivery = subscription.give(event())
    await until(lambda: len(trigger.requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert delivery.calls == ["start", "withdraw", "nack"]


async def test_cancelling_a_drain_ends_everything_though_the_bus_does_not_answer() -> None:
    subscription, trigger = MemorySubscription(), FakeTrigger(hang)
    rules, stop = settings(settle=60.0), asyncio.Event()
    task = asyncio.create_task(consume(subscription, route(trigger), rules, stop=stop))
    delivery = subscription.give(event(), faults={"nack": [Unavailable("gone")] * 100_000})
    await until(lambda: len(trigger.requests) == 1)
    stop.set()
    await until(lambda: len(delivery.faults["nack"]) < 100_000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_an_error_of_the_bus_drains_and_is_raised() -> None:
    subscription, trigger = MemorySubscription(), FakeTrigger(hang)
    task = asyncio.create_task(consume(subscription, route(trigger), settings(), stop=asyncio.Event()))
    delivery = subscription.give(event())
    await until(lambda: len(trigger.requests) == 1)
    subscription.queue.put_nowait(LookupError("a bug"))
    with pytest.raises(LookupError):
        await task
    assert delivery.calls == ["start", "withdraw", "nack"]


async def test_deliveries_run_beside_each_other() -> None:
    async with consuming(hang) as c:
        for number in range(64):
            c.subscription.give(event(number, key=str(number)))
        await until(lambda: len(c.trigger.requests) == 64)
    assert c.trigger.finished == []
