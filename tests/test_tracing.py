"""Whether a process traces, and what its spans say, without a collector."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from kubecdc import tracing
from kubecdc.cli.tracing import running, wanted
from kubecdc.concurrency import in_thread
from kubecdc.errors import UsageError
from kubecdc.storage.contracts.event import Event
from kubecdc.watcher.capture import traces as captures
from kubecdc.workers.objects.marks import TRACEPARENT, Mark
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.testing.case import event_of
from kubecdc.workers.testing.case import running as triggering
from kubecdc.workers.triggers.contract import Context
from kubecdc.workers.triggers.function.type import FunctionType
from kubecdc.workers.triggers.http import request as http
from kubecdc.workers.triggers.http.manifest import Http
from kubecdc.workers.triggers.kafka import request as kafka
from kubecdc.workers.triggers.kafka.manifest import Kafka
from tests.workers.support import FakeTrigger, MemorySubscription, event, log_trigger, route, settings

AWAY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def own_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The collector is away."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", AWAY)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    yield
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.0)
    tracing.stop()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """What the process traces."""
    exporter = InMemorySpanExporter()
    tracing.start("kubecdc", "test/1")
    assert tracing.active
    tracing.active._provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.mark.parametrize(
    ("flag", "variables", "expected"),
    [
        (None, {}, False),
        (True, {}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": AWAY}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": AWAY}, True),
        (None, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": AWAY}, False),
        (None, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (None, {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": AWAY}, False),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": AWAY}, False),
        (True, {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_flag_or_the_variables_of_opentelemetry_turn_it_on(
    flag: bool | None, variables: dict[str, str], expected: bool
) -> None:
    assert wanted(flag, variables) is expected


@pytest.mark.parametrize(
    ("variable", "value", "said", "hint"),
    [
        ("", "", "OpenTelemetry is not installed", "pip install 'kubecdc[tracing]'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTLP over grpc is not supported", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER=zipkin is not supported", "otlp, or none"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "a variable OTEL_* is wrong", "correct it"),
    ],
)
def test_what_is_not_possible_is_an_error_if_it_was_asked_for_and_else_a_warning(
    variable: str, value: str, said: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, value)
    else:
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(UsageError, match=said.replace("*", r"\*")) as error, running(True, "x"):
        pass
    assert hint in error.value.hint
    with capture_logs() as lines, running(None, "x"):
        assert tracing.active is None
    (line,) = lines
    assert (line["code"], line["log_level"]) == ("tracing-unavailable", "warning")
    assert said in line["event"]


def test_nothing_of_opentelemetry_is_loaded_without_it() -> None:
    modules = "kubecdc.cli.commands.run, kubecdc.cli.process, kubecdc.workers.worker, kubecdc.watcher.watcher"
    code = f"import sys, {modules}; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert captures.of("source/changed") is None


def test_a_collector_that_is_away_is_said_once() -> None:
    class Exporter:
        results = [SpanExportResult.FAILURE] * 3 + [SpanExportResult.SUCCESS] * 2 + [SpanExportResult.FAILURE]

        def export(self, _: Any) -> SpanExportResult:
            return self.results.pop(0)

    told = tracing._Told(Exporter())
    with capture_logs() as lines:
        for _ in range(6):
            told.export([])
    assert [line["code"] for line in lines] == ["spans-dropped", "spans-exported", "spans-dropped"]
    assert lines[0]["endpoint"] == AWAY


def test_an_event_carries_the_span_of_its_capture_until_it_is_committed(spans: InMemorySpanExporter) -> None:
    made = captures.of("workflows/changed")
    assert made
    one, two = made.begun(event(1)), made.begun(event(2))
    assert Event.decode(one.encode()).traceparent == one.traceparent
    made.blocked([one, two], RuntimeError("full"))
    made.committed([one, two], 2)
    made.committed([one], 1)  # once
    first, second = spans.get_finished_spans()
    assert first.context and second.context
    assert first.context.trace_id != second.context.trace_id
    assert one.traceparent.split("-")[1:3] == [f"{first.context.trace_id:032x}", f"{first.context.span_id:016x}"]
    assert [(e.name, dict(e.attributes or {})) for e in first.events] == [
        ("the bus did not accept the commit", {"reason": "full"})
    ]
    assert (first.attributes or {})["kubecdc.commit_events"] == 2


def test_what_is_not_sampled_says_so_to_the_next_and_makes_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    exporter = InMemorySpanExporter()
    tracing.start("kubecdc", "test/1")
    assert tracing.active
    tracing.active._provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = captures.of("workflows/changed")
    assert made
    told = made.begun(event(1))
    assert int(told.traceparent.split("-")[3], 16) & 1 == 0
    assert made._open == {}
    made.committed([told], 1)
    assert exporter.get_finished_spans() == ()


async def test_each_delivery_and_run_has_a_span_and_tries_are_events(spans: InMemorySpanExporter) -> None:
    outcomes: list[Outcome] = [Retry("503"), Success(), Failure("400")]
    current: list[int] = []
    passed_on: list[str] = []

    async def behaviour(request: TriggerRequest[Any]) -> Outcome:
        current.append(trace.get_current_span().get_span_context().span_id)
        passed_on.append(request.traceparent)
        return outcomes.pop(0)

    trigger = FakeTrigger(behaviour)
    to = route(trigger, log_trigger(retryStrategy={"steps": 2, "duration": "1ms"}))
    subscription, stop = MemorySubscription(), asyncio.Event()
    consumer = asyncio.create_task(consume(subscription, to, settings(), stop=stop))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await subscription.settled(event(1, traceparent=parent))
    await subscription.settled(event(2, data={}))
    stop.set()
    await consumer
    first_run, first, second_run, second = spans.get_finished_spans()
    assert first.parent and first.context and first_run.parent and first_run.context and second.context
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert f"{first.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert first_run.parent.span_id == first.context.span_id
    assert [dict(e.attributes or {}) for e in first_run.events] == [{"reason": "503", "tries": 1}]
    assert [s.status.is_ok for s in (first, first_run)] == [True, True]
    assert second.parent is None
    assert second.context.trace_id != first.context.trace_id
    assert (second.status.description, second_run.status.description) == ("400", "400")
    assert (second.attributes or {})["kubecdc.outcome"] == "dead_letter"
    assert (first.attributes or {})["kubecdc.object"] == "k"
    assert current[0] == current[1] == first_run.context.span_id, "instrumented code is below the run"
    assert passed_on[0].split("-")[2] == f"{first_run.context.span_id:016x}"
    assert trigger.requests[0].event.traceparent == parent


def test_every_type_of_trigger_passes_the_run_on(spans: InMemorySpanExporter) -> None:
    about = event(1, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    request = route(FakeTrigger()).request(about)
    assert Mark.of(request).traceparent == request.traceparent == about.traceparent, "outside of a run"
    assert TRACEPARENT not in Mark.of(route(FakeTrigger()).request(event(1))).on({})["metadata"]["annotations"]
    assert tracing.active
    span = tracing.active.begin("trigger s/t", "client", {}, about.traceparent)
    leave = span.enter()
    run = span.traceparent
    assert run.split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert run != about.traceparent
    assert Mark.of(request).on({})["metadata"]["annotations"][TRACEPARENT] == run
    config = Kafka.model_validate({"url": "broker:9092", "topic": "changes"})
    sent = kafka.prepare(msgspec.structs.replace(request, config=config))
    assert (sent.headers["traceparent"], sent.headers["ce_traceparent"]) == (run, about.traceparent)
    asked = http.prepare(msgspec.structs.replace(request, config=Http.model_validate({"url": "http://x"})))
    assert asked.traceparent == run
    leave()
    assert tracing.current() == ""


async def test_what_is_prepared_in_a_thread_is_of_the_run_too(spans: InMemorySpanExporter) -> None:
    assert tracing.active
    leave = tracing.active.begin("trigger s/t", "client", {}, "").enter()
    assert await in_thread(tracing.current, seconds=60) == tracing.current() != ""
    leave()


class Calling:
    """A ``function`` trigger with a handler of this module."""

    type = FunctionType()
    context = Context("sensor", concurrency=1)

    def __init__(self, handler: str) -> None:
        self.config = {"handler": f"{__name__}:{handler}"}


current: list[str] = []  # spans, in each call of a handler


def handler(*_: object) -> None:
    current.append(tracing.current())


async def handler_async(*_: object) -> None:
    current.append(tracing.current())


@pytest.mark.parametrize("name", ["handler", "handler_async"])
async def test_what_a_function_traces_is_below_the_run(name: str, spans: InMemorySpanExporter) -> None:
    assert tracing.active
    current.clear()
    async with triggering(Calling(name)) as made:  # type: ignore[arg-type]
        for parent in ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""):
            run = tracing.active.begin("trigger s/t", "client", {}, parent)
            leave = run.enter()
            assert await made.execute(event_of(1, traceparent=parent)) == Success()
            assert current.pop() == run.traceparent
            leave()
