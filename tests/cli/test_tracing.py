"""One trace from a change to its trigger, over all processes, as a collector gets it: docs/tracing.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.cli.rig import HTTP, Desk
from tests.harness.collector import Collector, collecting
from tests.harness.processes import until
from tests.workers.peer import serving

CONSUMER, PRODUCER, CLIENT = 5, 4, 3  # of opentelemetry.proto.trace.v1.Span.SpanKind
BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec:
  sqlite: {path: ./kubecdc.db}
  redelivery: {backoff: {duration: 10ms}}
"""


@dataclass
class Receiver:
    """Answers the first request with 503. ``headers`` of all."""

    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(status=200 if len(self.headers) > 1 else 503)


def names(traceparent: str) -> tuple[str, str]:
    """The ids of the trace and the span; the flags say that it was sampled."""
    version, trace, span, flags = traceparent.split("-")
    assert (version, int(flags, 16) & 1) == ("00", 1)
    return trace, span


@pytest.fixture
async def receiver(desk: Desk) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with serving(receiver.answer) as peer:
        receiver.url = peer.url
        desk.write("sensor.yaml", f"{BUS}---\n{HTTP.format(url=peer.url)}")
        yield receiver


@pytest.fixture
async def collector(desk: Desk) -> AsyncIterator[Collector]:
    async with collecting() as collector:
        desk.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        desk.environment["OTEL_BSP_SCHEDULE_DELAY"] = "50"  # milliseconds
        yield collector


async def test_a_change_has_one_trace_from_its_capture_to_the_receiver_over_two_processes(
    desk: Desk, receiver: Receiver, collector: Collector
) -> None:
    async with desk.running("watch") as watch, desk.running("work") as work:
        await watch.until('"code":"tracing"')
        await work.until('"code":"tracing"')
        await watch.until('"code":"listed"')
        await desk.create("one")
        runs = await collector.until("trigger ", 2)
        deliveries = await collector.until("deliver ", 2)
        (capture,) = await collector.until("capture ")
    assert (capture.name, capture.parent, capture.kind) == ("capture workflows/changed", "", PRODUCER)
    assert capture.attributes["kubecdc.object"] == "workflows.argoproj.io/default/one"
    assert {span.trace for span in collector.spans} == {capture.trace}
    assert [(d.name, d.parent, d.kind) for d in deliveries] == [("deliver post/send", capture.span, CONSUMER)] * 2
    assert [d.attributes["kubecdc.outcome"] for d in deliveries] == ["retried", "acked"]
    assert [d.failed for d in deliveries] == ["the trigger failed", None]
    assert [(r.name, r.parent, r.kind) for r in runs] == [("trigger post/send", d.span, CLIENT) for d in deliveries]
    assert runs[0].failed is not None
    assert "503" in runs[0].failed
    assert runs[1].failed is None
    assert [names(given["traceparent"]) for given in receiver.headers] == [(run.trace, run.span) for run in runs]
    assert {names(given["ce-traceparent"]) for given in receiver.headers} == {(capture.trace, capture.span)}
    assert capture.attributes["cloudevents.event_id"] == receiver.headers[0]["ce-id"]
    assert {span.service for span in collector.spans} == {"kubecdc"}


async def test_a_collector_that_hangs_delays_neither_a_delivery_nor_the_stop(
    desk: Desk, receiver: Receiver, collector: Collector
) -> None:
    collector.answers.clear()
    desk.environment["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = desk.environment["OTEL_BSP_MAX_QUEUE_SIZE"] = "4"
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"code":"listed"')
        await desk.create("first")
        await until(lambda: collector.requests > 0, 60, "an export, which hangs")
        for n in range(20):
            await desk.create(f"w{n}")
        await until(lambda: len(receiver.headers) >= 22, 60, "all deliveries")
    assert kubecdc.process.returncode == 0
    assert '"code":"stopped"' in kubecdc.err
    assert "stop-overdue" not in kubecdc.err


async def test_without_tracing_an_event_has_no_trace(desk: Desk, receiver: Receiver) -> None:
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"code":"listed"')
        await desk.create("one")
        await until(lambda: len(receiver.headers) == 2, 60, "the delivery")
    assert not [name for given in receiver.headers for name in given if "trace" in name]
    assert '"code":"tracing' not in kubecdc.err
