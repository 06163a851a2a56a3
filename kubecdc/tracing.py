"""Traces by OpenTelemetry: one for each change, from its capture to the triggers that run for it, over all processes.

Off until `start`: then ``active`` is None, which is all that anybody looks at, and nothing of OpenTelemetry is loaded.
Spans are exported by a thread of the library, whose queue is bounded: an exporter that hangs delays nobody.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

from kubecdc import __version__

Kind = Literal["producer", "consumer", "client"]
Attributes = Mapping[str, str | int | float | bool]
FLUSH_SECONDS = 0.5  # at the end of the process, for the spans that are not exported yet

active: Tracing | None = None


def start(service: str, instance: str) -> None:
    """Trace from now on, as the variables ``OTEL_*`` say. Raises ImportError, and ValueError for a wrong variable.

    ``service`` is the name of the service if the variables name none; ``instance`` names this process.
    """
    global active  # noqa: PLW0603 - of the process, as its threads and its exporter
    active = Tracing(service, instance)


def stop() -> None:
    """Export what is left, for at most `FLUSH_SECONDS`."""
    global active
    ended, active = active, None
    if ended:
        ended.close(FLUSH_SECONDS)


def current() -> str:
    """The traceparent of the span that this task has entered; "" if there is none, or nothing is traced."""
    return "" if active is None else active.current()


class Span:
    """What happens to one change in one step. ``traceparent`` names it to the next one (W3C Trace Context)."""

    __slots__ = ("_span", "_tracing", "traceparent")

    def __init__(self, tracing: Tracing, span: Any) -> None:
        self._tracing = tracing
        self._span = span
        self.traceparent = _traceparent(span.get_span_context())

    @property
    def is_recorded(self) -> bool:
        """Whether it was sampled."""
        return bool(self._span.is_recording())

    def tell(self, name: str, **attributes: str | float) -> None:
        """Something happened meanwhile."""
        self._span.add_event(name, attributes)

    def end(self, *, failed: str = "", **attributes: str | float) -> None:
        """It is over; ``failed`` is why it did not work."""
        for name, value in attributes.items():
            self._span.set_attribute(f"kubecdc.{name}", value)
        if failed:
            self._span.set_status(self._tracing.error, failed)
        self._span.end()

    def enter(self) -> Callable[[], None]:
        """Make it that of this task, so that what instrumented code begins is below it. Returns what undoes that."""
        return self._tracing.enter(self._span)


class Tracing:
    """Makes spans, and exports them."""

    def __init__(self, service: str, instance: str) -> None:
        from opentelemetry import context, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = {"service.version": __version__, "service.instance.id": instance}
        resource = Resource.create(given)
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = Resource.create({**given, SERVICE_NAME: service})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Told(OTLPSpanExporter())))
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)  # it says each failure; `_Told` says one
        trace.set_tracer_provider(self._provider)  # for the spans of instrumented code, such as your handlers
        self._tracer = self._provider.get_tracer("kubecdc", __version__)
        self._kinds = {name: trace.SpanKind[name.upper()] for name in ("producer", "consumer", "client")}
        self._extract = TraceContextTextMapPropagator().extract
        self._nothing, self._current = context.Context(), context.get_current
        self._in_context = trace.set_span_in_context
        self._current_span = trace.get_current_span
        self._attach, self._detach = context.attach, context.detach
        self.error = trace.StatusCode.ERROR

    def begin(self, name: str, kind: Kind, attributes: Attributes, parent: str | None = None) -> Span:
        """A new span below the ``parent``, a traceparent; "" begins a trace, None is what the task has entered."""
        above = self._current() if parent is None else self._nothing
        if parent:
            above = self._extract({"traceparent": parent}, above)
        return Span(self, self._tracer.start_span(name, above, self._kinds[kind], attributes))

    def enter(self, span: Any) -> Callable[[], None]:
        """See `Span.enter`."""
        token = self._attach(self._in_context(span))
        return lambda: self._detach(token)

    def current(self) -> str:
        """See the function."""
        known = self._current_span().get_span_context()
        return _traceparent(known) if known.is_valid else ""

    def close(self, seconds: float) -> None:
        """Export what is left, for so long at most: the thread that does it is left behind if it hangs."""
        flush = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        flush.start()
        flush.join(seconds)


def _traceparent(known: Any) -> str:
    """https://www.w3.org/TR/trace-context/#traceparent-header"""
    return f"00-{known.trace_id:032x}-{known.span_id:016x}-{int(known.trace_flags):02x}"


class _Told:
    """An exporter that says once when spans cannot be exported, and once when they can again."""

    def __init__(self, exporter: Any) -> None:
        import structlog  # not needed to check manifests

        self._exporter = exporter
        self._log = structlog.get_logger()
        self._failing = False

    def export(self, spans: Any) -> Any:
        """Called by the thread of the library, of which there is one."""
        log, result = self._log, self._exporter.export(spans)
        failed = result.name != "SUCCESS"
        if failed and not self._failing:
            log.warning(
                "spans cannot be exported and are dropped",
                code="spans-dropped",
                endpoint=endpoint(),
                hint="check the collector and OTEL_EXPORTER_OTLP_ENDPOINT: OTLP over HTTP has port 4318",
            )
        if self._failing and not failed:
            log.info("spans are exported again", code="spans-exported")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """Nothing is exported afterwards."""
        self._exporter.shutdown()


def endpoint() -> str:
    """Where spans are exported to, as the variables say."""
    names = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    return next((os.environ[name] for name in names if os.environ.get(name)), "http://localhost:4318")
