"""What an event asks the ``http`` trigger to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError, payload, rewrite, text_of
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.http.manifest import DynamicHeader, Http, sendable

MOST_HEADERS = 1000
LONGEST_HEADERS = 1024 * 1024  # characters of all together; common servers take 8 KiB to 1 MiB


@dataclass(frozen=True)
class HttpRequest:
    """A request, except for what is secret.

    ``payload`` is what the manifest's ``payload`` builds; None if it has none. ``headers`` are its ``dynamicHeaders``.
    ``traceparent`` is "" if nothing is traced.
    """

    event: Event
    idempotency_key: str
    config: Http
    payload: bytes | None
    headers: Mapping[str, str]
    traceparent: str = ""


def prepare(request: TriggerRequest[Http]) -> HttpRequest:
    """Apply ``parameters``, then ``payload`` and ``dynamicHeaders``. Raises ParameterError."""
    values = request.values
    config = rewrite(request.config, request.config.parameters, values, within="http")
    headers = _headers(config.dynamic_headers, values)
    if len(config.headers) + len(headers) > MOST_HEADERS:
        raise ParameterError(f"there are {len(config.headers) + len(headers)} headers; at most {MOST_HEADERS} are sent")
    length = sum(len(name) + len(value) for fields in (config.headers, headers) for name, value in fields.items())
    if length > LONGEST_HEADERS:
        raise ParameterError(f"the headers have {length} characters; at most {LONGEST_HEADERS} are sent")
    return HttpRequest(
        event=request.event,
        idempotency_key=request.idempotency_key,
        config=config,
        payload=payload(config.payload, values) if config.payload else None,
        headers=headers,
        traceparent=request.traceparent,
    )


def _headers(dynamic: Sequence[DynamicHeader], values: Values) -> dict[str, str]:
    """The headers that the event gives, as text. Raises ParameterError, also for what no header can carry."""
    found: dict[str, str] = {}
    for header in dynamic:
        if not values.has(header.src):
            continue
        found[header.dest] = text_of(header.src, values)
        if not sendable(found[header.dest]):
            raise ParameterError(f"header `{header.dest}` cannot carry the value: some characters cannot be sent")
    return found
