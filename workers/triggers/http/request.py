"""What an event asks the ``http`` trigger to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError, Values, payload, rewrite, text_of
from kubecdc.workers.triggers.http.manifest import DynamicHeader, Http, sendable


@dataclass(frozen=True)
class HttpRequest:
    """A request, except for what is secret.

    ``payload`` is what the manifest's ``payload`` builds; None if it has none. ``headers`` are its ``dynamicHeaders``.
    """

    event: Event
    idempotency_key: str
    config: Http
    payload: bytes | None
    headers: Mapping[str, str]


def prepare(request: TriggerRequest[Http]) -> HttpRequest:
    """Apply ``parameters``, then ``payload`` and ``dynamicHeaders``. Raises ParameterError."""
    values = request.values
    config = rewrite(request.config, request.config.parameters, values, within="http")
    return HttpRequest(
        event=request.event,
        idempotency_key=request.idempotency_key,
        config=config,
        payload=payload(config.payload, values) if config.payload else None,
        headers=_headers(config.dynamic_headers, values),
    )


def _headers(dynamic: Sequence[DynamicHeader], values: Values) -> dict[str, str]:
    """The headers that the event gives, as text. Raises ParameterError, also for what no header can carry."""
    found: dict[str, str] = {}
    for header in dynamic:
        found[header.dest] = text_of(header.src, values)
        if not sendable(found[header.dest]):
            raise ParameterError(f"header `{header.dest}` cannot carry the value: some characters cannot be sent")
    return found
