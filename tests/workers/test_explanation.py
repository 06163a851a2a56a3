"""At debug level the log says of each delivery why it was left out, kept, or waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import structlog
from structlog.testing import capture_logs

from kubecdc.backoff import Backoff
from kubecdc.workers import explanation
from kubecdc.workers.breaker import FAILURES
from kubecdc.workers.outcome import Outcome, Retry, Success
from kubecdc.workers.pipeline import breaker_of
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.settings import Settings
from tests.workers.filters.test_filtering import ADDED, LEFT_OUT, RUN, consuming
from tests.workers.support import FakeTrigger, event, route, settings

DELIVERY = {"sensor": "s", "trigger": "t", "attempt": 1}


async def test_the_log_says_what_becomes_of_each_delivery() -> None:
    async with consuming(ADDED) as consumer:
        outcomes: list[Outcome] = [Success(), Retry("503", after=7.0)]

        async def behaviour(_: TriggerRequest[Any]) -> Outcome:
            return outcomes.pop(0)

        consumer.trigger.behaviour = behaviour
        with capture_logs() as lines:
            for number, data in ((1, RUN), (2, LEFT_OUT), (3, RUN)):
                await consumer.subscription.settled(event(number, data=data))
    of = {n: [line for line in lines if line.get("event_id") == event(n).id] for n in (1, 2, 3)}
    assert [line["code"] for line in of[1]] == ["delivery-matched", "delivery-done"]
    assert [line["code"] for line in of[2]] == ["delivery-filtered", "delivery-done"]
    assert [line["code"] for line in of[3]] == ["delivery-matched", "trigger-failed", "delivery-delayed"]
    assert of[3][-1]["seconds"] == 7.0
    assert all(line.items() >= {**DELIVERY, "object": "k"}.items() for found in of.values() for line in found)


async def test_the_log_says_that_an_event_waits_for_the_breaker() -> None:
    to = route(FakeTrigger())
    breaker = breaker_of(to, settings(backoff=Backoff(60.0)))
    for n in range(FAILURES):
        breaker.ended(str(n), Retry("503"), probe=False)

    claim: Any = SimpleNamespace(facts={"object": "k", "event_id": "e", "attempt": 1})
    with capture_logs() as lines:
        explanation.matched(claim, to, breaker)
        explanation.kept(claim, to)
    assert [(line["code"], line.get("waits_for")) for line in lines] == [
        ("delivery-matched", ["the breaker"]),
        ("delivery-kept", None),
    ]


def test_above_debug_nothing_is_asked_of_a_delivery() -> None:
    assert Settings().debug
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    try:
        assert not Settings().debug
    finally:
        structlog.reset_defaults()
