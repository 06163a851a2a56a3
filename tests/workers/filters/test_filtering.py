"""The filter step of the pipeline: what does not pass is acked without a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from kubecdc import concurrency
from kubecdc.workers import computing, filtering
from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route
from kubecdc.workers.sensor.filters.compiled import CompiledFilters
from kubecdc.workers.sensor.filters.logic import Verdict
from kubecdc.workers.sensor.values import Values
from tests.exported import REGISTRY
from tests.workers.support import FakeTrigger, MemorySubscription, event, log_trigger, sensor, settings

ADDED = {"data": [{"path": "type", "type": "string", "value": ["^ADD$"]}]}
RUN = {"type": "ADD", "phase": "Failed"}
LEFT_OUT = {"type": "DELETE"}


@dataclass
class Consumer:
    subscription: MemorySubscription
    trigger: FakeTrigger
    route: Route

    @property
    def ran(self) -> list[str]:
        return [request.event.id for request in self.trigger.requests]


@asynccontextmanager
async def consuming(filters: Mapping[str, Any], **more: Any) -> AsyncIterator[Consumer]:
    dependency = {"name": "dep", "eventSourceName": "workflows", "eventName": "changed", "filters": filters, **more}
    made = sensor(log_trigger(), dependencies=[dependency])
    subscription, stop = MemorySubscription(), asyncio.Event()
    trigger: Any = FakeTrigger()
    route = Route(made, made.spec.triggers[0], trigger)
    task = asyncio.create_task(consume(subscription, route, settings(), stop=stop))
    try:
        yield Consumer(subscription, trigger, route)
    finally:
        stop.set()
        await task


def filtered(reason: str) -> float:
    names = {"sensor": "s", "trigger": "t", "reason": reason}
    return REGISTRY.get_sample_value("kubecdc_events_filtered_total", names) or 0.0


async def test_what_does_not_pass_is_acked_without_an_attempt_and_counted() -> None:
    before = filtered("false"), filtered("error")
    async with consuming(ADDED) as consumer:
        left_out, run, odd = await consumer.subscription.settled(
            event(1, key="a", data=LEFT_OUT), event(2, key="b", data=RUN), event(3, key="c", data={})
        )
    assert consumer.ran == [event(2, key="b").id]
    assert (left_out.calls, run.calls, odd.calls) == (["ack"], ["start", "ack"], ["ack"])
    assert (filtered("false"), filtered("error")) == (before[0] + 1, before[1] + 1)


async def test_the_log_says_why_at_debug_only() -> None:
    async with consuming(ADDED) as consumer:
        with capture_logs() as lines:
            await consumer.subscription.settled(event(1, data=LEFT_OUT))
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
        try:
            with capture_logs() as none:
                await consumer.subscription.settled(event(2, data=LEFT_OUT))
        finally:
            structlog.reset_defaults()
    [line] = [line for line in lines if "leave the event out" in line["event"]]
    assert (line["log_level"], line["event_id"], line["sensor"]) == ("debug", event(1).id, "s")
    assert line["reason"] == "filters.data[0] (type = ^ADD$) is false"
    assert none == []


async def test_data_that_cannot_be_read_make_a_dead_letter() -> None:
    broken = msgspec.structs.replace(event(), data=msgspec.Raw(b'{"type": 1e999}'))
    async with consuming(ADDED) as consumer:
        [delivery] = await consumer.subscription.settled(broken)
    assert delivery.last == "dead_letter"
    assert "the filters of the dependency cannot judge the event: filters.data[0]" in delivery.reason
    assert "data cannot be read" in delivery.reason


def decoded(values: Values) -> bool:
    """Whether they hold anything that was decoded."""
    unread = Values(event())
    return any(getattr(values, name) is not getattr(unread, name) for name in ("_data", "_part"))


async def test_a_large_event_is_judged_in_a_thread_and_its_values_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 0
    in_thread = concurrency.in_thread

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal threads
        threads += 1
        return await in_thread(*args, **kwargs)

    monkeypatch.setattr(computing, "in_thread", counted)
    async with consuming(ADDED) as consumer:
        await consumer.subscription.settled(
            event(1, key="a", data={**RUN, "x": "y" * 100_000}),
            event(2, key="b", data={**LEFT_OUT, "x": "y" * 100_000}),
        )
        assert (consumer.ran, threads) == ([event(1, key="a").id], 3), "both are judged, and one is prepared"
        assert not decoded(consumer.trigger.requests[0].values)
        await consumer.subscription.settled(event(3, key="c", data=RUN))
        assert threads == 3
        assert decoded(consumer.trigger.requests[1].values), "it is shared with the parameters"


async def test_a_large_event_that_ends_the_process_counts_as_attempted(monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile: list[list[str]] = []
    verdict = CompiledFilters.verdict

    def judged(filters: CompiledFilters, values: Values) -> Verdict:
        meanwhile.append(list(deliveries[len(meanwhile)].calls))
        return verdict(filters, values)

    monkeypatch.setattr(CompiledFilters, "verdict", judged)
    padding = {"x": "y" * 100_000}
    async with consuming(ADDED) as consumer:
        give = consumer.subscription.give
        deliveries = [give(event(1, data={**LEFT_OUT, **padding})), give(event(2, data={**RUN, **padding}))]
        for delivery in deliveries:
            await asyncio.wait_for(delivery.settled.wait(), 60)
    assert meanwhile == [["start"], ["start"]]
    assert deliveries[0].calls == ["start", "withdraw", "ack"], "no success, and no attempt"
    assert deliveries[1].calls == ["start", "withdraw", "start", "ack"]


async def test_a_large_expression_is_evaluated_in_a_thread_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"data": [{"path": "type", "type": "string", "value": ["(?:a|aa|b?){1000}c"]}]}
    monkeypatch.setattr(filtering, "FILTERING", 0.001)
    async with consuming(slow) as consumer:
        [delivery] = await consumer.subscription.settled(event(1, data={"type": "ab" * 2_500}))
    assert (delivery.last, consumer.ran) == ("dead_letter", [])
    assert "take more than" in delivery.reason


async def test_a_template_that_needs_longer_is_rendered_in_a_thread() -> None:
    template = "{{ range until 100 }}{{ range until 60 }}x{{ end }}{{ end }}"
    given = {"path": "type", "type": "string", "value": ["^x+$"], "template": template}
    async with consuming({"data": [given]}) as consumer:
        await consumer.subscription.settled(event(1, data=RUN))
        route = consumer.route
    assert (consumer.ran, route.in_thread) == ([event(1).id], {"filters"})


async def test_without_filters_nothing_is_decoded_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with consuming({}, filtersLogicalOperator="or") as consumer:
        await consumer.subscription.settled(event(1))
    assert consumer.ran == [event(1).id]
    assert not decoded(consumer.trigger.requests[0].values)
