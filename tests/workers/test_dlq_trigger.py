"""The dlqTrigger: it runs for each event that becomes a dead letter, before the bus is told, and it changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from kubecdc.backoff import Backoff
from kubecdc.errors import Unavailable
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts import Failures
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.contracts.event import Event
from kubecdc.workers import settlement
from kubecdc.workers.dead_letter import MORE
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.route import Route, close
from kubecdc.workers.route import route as built
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter
from kubecdc.workers.sensor.parameters import resolve
from kubecdc.workers.sensor.values import Values
from tests.workers.support import (
    Behaviour,
    FakeTrigger,
    MemoryDelivery,
    MemorySubscription,
    event,
    into,
    log_trigger,
    sensor,
    settings,
    until,
)

MOST = 3  # maxDeliveries
LAST = Failures(uncounted=1, successes=0)  # kept by an attempt before; the trigger has succeeded for others since
DLQ: dict[str, Any] = {"template": {"name": "dlq", "log": {}}}


@dataclass
class Rig:
    """A trigger and its dlqTrigger. ``order`` has what was called, in the order of the calls."""

    subscription: MemorySubscription = field(default_factory=MemorySubscription)
    trigger: FakeTrigger = field(default_factory=FakeTrigger)
    dlq: FakeTrigger = field(default_factory=FakeTrigger)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def settled(self, *given: Event | bytes, **how: Any) -> MemoryDelivery:
        """The last of them, settled."""
        for each in given:
            delivery = self.subscription.give(each, **how)
            async with asyncio.timeout(60):
                await delivery.settled.wait()
        return delivery


@asynccontextmanager
async def rig(
    behaviour: Behaviour,
    of_dlq: Behaviour | None = None,
    *,
    dlq: Mapping[str, Any] | None = None,
    dependency: Mapping[str, Any] | None = None,
    **given: Any,
) -> AsyncIterator[Rig]:
    made = Rig(trigger=FakeTrigger(behaviour), dlq=FakeTrigger(of_dlq))
    waits_for = {"name": "dep", "eventSourceName": "workflows", "eventName": "changed", **(dependency or {})}
    of = sensor({**log_trigger(), "dlqTrigger": {**DLQ, **(dlq or {})}}, dependencies=[waits_for])
    [manifest] = of.spec.triggers
    assert manifest.dlq_trigger
    to = Route(of, manifest, made.trigger, dlq=Route(of, manifest.dlq_trigger, made.dlq))
    how = settings(**{"max_deliveries": MOST, **given})
    task = asyncio.create_task(consume(made.subscription, to, how, stop=made.stop))
    try:
        yield made
    finally:
        made.stop.set()
        async with asyncio.timeout(60):
            await task


def always(outcome: Outcome) -> Behaviour:
    async def behaviour(_: TriggerRequest[Any]) -> Outcome:
        return outcome

    return behaviour


def answering(*outcomes: Outcome) -> Behaviour:
    left = list(outcomes)

    async def behaviour(_: TriggerRequest[Any]) -> Outcome:
        return left.pop(0)

    return behaviour


async def hang(_: TriggerRequest[Any]) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


async def breaks(_: TriggerRequest[Any]) -> Outcome:
    raise ValueError("a defect")


FAILS = always(Failure("rejected"))


def told(request: TriggerRequest[Any], **src: Any) -> object:
    return resolve(PayloadParameter.model_validate({"src": {"dependencyName": "dep", **src}}).src, request.values)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "_BACKOFF", Backoff(duration=0.001, cap=0.001))


async def test_it_gets_the_event_the_error_and_the_attempts_before_the_bus_is_told() -> None:
    seen: list[list[str]] = []

    async def look(_: TriggerRequest[Any]) -> Outcome:
        seen.append(list(delivery.calls))
        return Success()

    async with rig(FAILS, look) as made:
        delivery = made.subscription.give(event())
        await until(delivery.settled.is_set)
    assert seen == [["start"]]
    assert (delivery.calls, delivery.reason) == (["start", "dead_letter"], "rejected")
    [request] = made.dlq.requests
    assert (request.event, request.trigger, request.dependency) == (event(), "dlq", "dep")
    assert told(request, contextKey="error") == "rejected"
    assert told(request, contextKey="attempts") == "1"
    assert told(request, contextTemplate="{{ .Input.error }} after {{ .Input.attempts }}") == "rejected after 1"
    assert told(request, dataKey="body.metadata.name") == "w1"
    assert request.idempotency_key != made.trigger.requests[0].idempotency_key


async def test_it_does_not_run_for_what_is_acked_or_delivered_again() -> None:
    async with rig(answering(Success(), Retry("busy"))) as made:
        assert [(await made.settled(event(n))).last for n in (1, 2)] == ["ack", "nack"]
    assert made.dlq.requests == []


@pytest.mark.parametrize("outcome", [Failure("no"), Retry("away")], ids=["failure", "retry"])
async def test_if_it_fails_too_the_event_is_a_dead_letter_with_both_reasons(outcome: Failure | Retry) -> None:
    async with rig(FAILS, always(outcome)) as made:
        delivery = await made.settled(event())
    assert delivery.calls == ["start", "dead_letter"]
    assert delivery.reason == f"rejected; its dlqTrigger failed too: {outcome.reason}"
    assert len(made.dlq.requests) == 1


async def test_a_defect_in_it_is_a_failure_like_any_other() -> None:
    async with rig(FAILS, breaks) as made:
        delivery = await made.settled(event())
    assert (delivery.last, delivery.reason) == (
        "dead_letter",
        "rejected; its dlqTrigger failed too: ValueError: a defect",
    )


async def test_it_has_a_retry_strategy_of_its_own() -> None:
    strategy = {"retryStrategy": {"steps": 3, "duration": "1us", "jitter": 0}}
    async with rig(FAILS, answering(Retry("1"), Retry("2"), Success()), dlq=strategy) as made:
        delivery = await made.settled(event())
    assert (len(made.trigger.requests), len(made.dlq.requests)) == (1, 3)
    assert (delivery.last, delivery.reason) == ("dead_letter", "rejected")


async def test_parameters_of_it_that_find_nothing_make_a_dead_letter_with_both_reasons() -> None:
    missing = {"parameters": [{"src": {"dependencyName": "dep", "dataKey": "missing"}, "dest": "log.intervalSeconds"}]}
    async with rig(FAILS, dlq=missing) as made:
        delivery = await made.settled(event())
    assert "rejected; its dlqTrigger failed too: the event has nothing at dataKey 'missing'" in delivery.reason
    assert made.dlq.requests == []


async def test_it_runs_after_the_last_attempt() -> None:
    async with rig(always(Retry("busy"))) as made:
        made.subscription.succeeded = 1
        delivery = await made.settled(event(), attempt=MOST, failures=LAST)
    assert (delivery.last, delivery.reason) == ("dead_letter", f"gave up after {MOST} attempts: busy")
    assert told(made.dlq.requests[0], contextKey="attempts") == str(MOST)
    assert told(made.dlq.requests[0], contextKey="error") == delivery.reason


async def test_it_runs_for_an_event_too_old_to_be_tried_again() -> None:
    async with rig(always(Retry("busy")), wall=lambda: 2e9, give_up_after=timedelta(days=1)) as made:
        delivery = await made.settled(event())
    assert (delivery.last, len(made.dlq.requests)) == ("dead_letter", 1)


async def test_it_runs_for_an_event_that_the_trigger_was_not_given() -> None:
    """A filter cannot judge it, or the dependency was changed since it was owed."""
    async with rig(
        FAILS, dependency={"filters": {"data": [{"path": "type", "type": "string", "value": ["ADD"]}]}}
    ) as made:
        broken = event().encode().replace(b'"ADD"', b'"\xff"')
        unjudged = await made.settled(broken)
        foreign = await made.settled(event(source="other"))
    assert (unjudged.calls, foreign.calls) == (["start", "dead_letter"], ["start", "dead_letter"])
    assert "cannot judge the event" in unjudged.reason
    assert "owed before its dependency was changed" in foreign.reason
    assert [told(request, contextKey="attempts") for request in made.dlq.requests] == ["0", "0"]
    assert made.trigger.requests == []


def test_each_event_of_a_set_that_met_the_conditions_has_the_error() -> None:
    values = Values(event(1), "a")
    values.others = {"b": Values(event(2), "b")}
    template = {"contextTemplate": "{{ .Input.error }} {{ .Input.attempts }} {{ .Input.id }}", "value": "?"}
    sources = [PayloadParameter.model_validate({"src": {"dependencyName": d, **template}}).src for d in ("a", "b")]
    assert [resolve(source, values) for source in sources] == ["<no value> <no value> " + event(n).id for n in (1, 2)]
    values.annotate({"error": "rejected", "attempts": 2})
    assert [resolve(source, values) for source in sources] == [f"rejected 2 {event(n).id}" for n in (1, 2)]


async def test_what_is_no_event_is_a_dead_letter_without_it() -> None:
    async with rig(FAILS) as made:
        delivery = await made.settled(b"nonsense")
    assert (delivery.last, made.dlq.requests) == ("dead_letter", [])


@pytest.mark.parametrize(("attempt", "runs"), [(MOST + 1, 1), (MOST + MORE, 1), (MOST + MORE + 1, 0)])
async def test_an_event_that_ends_its_worker_also_there_is_given_up_in_the_end(attempt: int, runs: int) -> None:
    """Each of these deliveries follows on one in which the process died: it was never settled."""
    async with rig(FAILS) as made:
        delivery = await made.settled(event(), attempt=attempt)
    assert (len(made.trigger.requests), len(made.dlq.requests)) == (0, runs)
    assert delivery.calls == (["start", "dead_letter"] if runs else ["dead_letter"])
    assert delivery.reason.startswith(f"gave up after {attempt - 1} attempts")
    assert ("never ended" in delivery.reason.partition(";")[2]) is (runs == 0)


async def test_a_stop_returns_the_event_and_both_are_repeated() -> None:
    async with rig(FAILS, hang) as made:
        delivery = made.subscription.give(event())
        await until(lambda: len(made.dlq.requests) == 1)
        made.stop.set()
        await until(delivery.settled.is_set)
    assert delivery.calls == ["start", "withdraw", "nack"]
    async with rig(FAILS) as again:
        assert (await again.settled(event())).last == "dead_letter"
    assert again.dlq.requests[0].idempotency_key == made.dlq.requests[0].idempotency_key


async def test_a_claim_that_is_lost_meanwhile_is_settled_by_nobody_here() -> None:
    ended = asyncio.Event()

    async def interrupted(request: TriggerRequest[Any]) -> Outcome:
        try:
            return await hang(request)
        finally:
            ended.set()

    async with rig(FAILS, interrupted, ack_wait=timedelta(seconds=0.03)) as made:
        delivery = made.subscription.give(event(), faults={"extend": [ClaimLost("lapsed")]})
        await until(ended.is_set)
    assert delivery.calls == ["start"]


async def test_a_claim_lost_at_the_settlement_repeats_both() -> None:
    """As after the death of a process between the dlqTrigger and the settlement."""
    async with rig(FAILS) as made:
        lost = made.subscription.give(event(), faults={"dead_letter": [ClaimLost("lapsed")]})
        await until(lambda: len(made.dlq.requests) == 1)
        delivery = await made.settled(event(), attempt=2)
    assert (lost.last, delivery.last) == ("start", "dead_letter")
    assert (len(made.trigger.requests), len(made.dlq.requests)) == (2, 2)
    assert len({request.idempotency_key for request in made.dlq.requests}) == 1


async def test_a_bus_that_is_away_is_told_again_and_the_trigger_is_not_run_again() -> None:
    away = [Unavailable("away")] * 3
    async with rig(FAILS) as made:
        delivery = await made.settled(event(), faults={"dead_letter": away})
    assert (delivery.last, len(made.dlq.requests)) == ("dead_letter", 1)


async def test_it_is_built_and_closed_with_its_trigger_and_a_log_line_has_the_error() -> None:
    lines: list[Mapping[str, object]] = []
    of = sensor({**log_trigger(), "dlqTrigger": DLQ})
    trigger, dependency = of.spec.triggers[0], of.spec.dependencies[0]
    to = built(of, trigger, dependency, concurrency=1, render=into(lines), mounts=Mounts())
    to.trigger = failing = FakeTrigger(FAILS)
    subscription, stop = MemorySubscription(), asyncio.Event()
    task = asyncio.create_task(consume(subscription, to, settings(), stop=stop))
    delivery = subscription.give(event())
    async with asyncio.timeout(60):
        await delivery.settled.wait()
    stop.set()
    await task
    [line] = lines
    assert (line["sensor"], line["trigger"]) == ("s", "dlq")
    context = line["eventContext"]
    assert isinstance(context, dict)
    assert (context["error"], context["attempts"], context["id"]) == ("rejected", 1, event().id)
    closed = FakeTrigger()
    assert to.dlq
    to.dlq.trigger = closed
    await close([to])
    assert (failing.closed, closed.closed) == (True, True)
