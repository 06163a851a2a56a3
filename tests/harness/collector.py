"""A collector of OpenTelemetry: it takes spans by OTLP over HTTP, and keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.harness.processes import until
from tests.workers.peer import serving


@dataclass
class Spanned:
    """A span as it arrived; ids as text, the values of attributes as they are."""

    name: str
    service: str
    trace: str
    span: str
    parent: str
    kind: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    failed: str | None


@dataclass
class Collector:
    """``spans`` in the order of their arrival. ``status`` is its answer; it hangs while ``answers`` is not set."""

    url: str = ""
    status: int = 200
    spans: list[Spanned] = field(default_factory=list)
    requests: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def named(self, start: str) -> list[Spanned]:
        return [span for span in self.spans if span.name.startswith(start)]

    async def until(self, start: str, count: int = 1) -> list[Spanned]:
        """The spans of that name, once there are so many."""
        await until(lambda: len(self.named(start)) >= count, 60, f"{count} spans {start}")
        return self.named(start)

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        await self.answers.wait()
        if self.status == 200:
            self._take(ExportTraceServiceRequest.FromString(body))
        reply = ExportTraceServiceResponse().SerializeToString()
        return web.Response(status=self.status, body=reply, content_type="application/x-protobuf")

    def _take(self, given: Any) -> None:
        for resource in given.resource_spans:
            service = str(_values(resource.resource.attributes)["service.name"])
            for scope in resource.scope_spans:
                self.spans += [_spanned(span, service) for span in scope.spans]


def _spanned(span: Any, service: str) -> Spanned:
    return Spanned(
        name=span.name,
        service=service,
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        attributes=_values(span.attributes),
        events=[(event.name, _values(event.attributes)) for event in span.events],
        failed=span.status.message if span.status.code == 2 else None,
    )


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    collector.answers.set()
    async with serving(collector.answer) as peer:
        collector.url = peer.url
        try:
            yield collector
        finally:
            collector.answers.set()
