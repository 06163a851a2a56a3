"""Parameters: values taken from the event, put into the template or the payload.

The rules are those of Argo Events (``ResolveParamValue``, ``ConstructPayload``, ``ApplyParams`` in sensors/triggers),
with gjson paths to read and sjson paths to write.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec

from kubecdc import jsonpath
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.sensor.parameter_manifest import ParameterSource, PayloadParameter
from kubecdc.workers.triggers.http.manifest import DynamicHeader, sendable

_encoder = msgspec.json.Encoder()


class ParameterError(Exception):
    """The parameter cannot be had from this event, nor will it ever be."""


class Values:
    """What the parameters of one event read. Parsed at most once, and only if one asks."""

    def __init__(self, event: Event) -> None:
        self._event = event

    @cached_property
    def data(self) -> object:
        """The event's data; where it cannot be read, there is nothing at any path."""
        try:
            return msgspec.json.decode(self._event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return jsonpath.MISSING

    @cached_property
    def context(self) -> dict[str, object]:
        """The event's attributes: those of Argo's context, and ours."""
        return context(self._event)

    @property
    def whole(self) -> str:
        """The event as Argo marshals it: ``data`` is a byte string there, so its JSON is base64."""
        data = base64.b64encode(self._event.data).decode()
        return _encoder.encode({"context": self.context, "data": data}).decode()


def context(event: Event) -> dict[str, object]:
    """The attributes of an event, without those that say nothing."""
    fields = msgspec.structs.asdict(event)
    del fields["data"]
    return {name: value for name, value in fields.items() if value or name == "epoch"}


def resolve(source: ParameterSource, values: Values) -> object:
    """The value of a parameter: text, or any JSON with ``useRawData``. Raises ParameterError.

    ``dataKey`` goes before ``contextKey``; a path that leads nowhere gives ``value``, and without one is an error;
    without any path it is ``value``, or else the whole event. The last two are always text.
    """
    path = source.data_key or source.context_key
    if not path:
        return values.whole if source.value is None else source.value
    found = jsonpath.compile(path).get(values.data if source.data_key else values.context)
    if found is jsonpath.MISSING:
        if source.value is None:
            key = "dataKey" if source.data_key else "contextKey"
            raise ParameterError(f"the event has nothing at {key} {path!r}, and the parameter has no default `value`")
        return source.value
    return found if source.use_raw_data else _text(found)


def apply(document: Any, parameters: Sequence[PayloadParameter], values: Values) -> Any:
    """The document with every parameter put in its place. Raises ParameterError."""
    for parameter in parameters:
        value = resolve(parameter.src, values)
        try:
            if parameter.operation in ("append", "prepend"):
                value = _joined(document, parameter, value)
            document = jsonpath.set_path(document, parameter.dest, value)
        except ValueError as e:
            raise ParameterError(f"dest {parameter.dest!r}: {e}") from e
    return document


def payload(parameters: Sequence[PayloadParameter], values: Values) -> bytes:
    """The body that a ``payload`` builds: JSON, or the bare value of the first entry with an empty ``dest``."""
    document = None
    for parameter in parameters:
        if not parameter.dest:
            return _text(resolve(parameter.src, values)).encode()
        document = apply(document, (parameter,), values)
    return b"" if document is None else _encoder.encode(document)


def headers(dynamic: Sequence[DynamicHeader], values: Values) -> dict[str, str]:
    """The headers that the event gives, always text. Raises ParameterError, also for what no header can carry."""
    found: dict[str, str] = {}
    for header in dynamic:
        found[header.dest] = _text(resolve(header.src, values))
        if not sendable(found[header.dest]):
            raise ParameterError(f"header `{header.dest}` cannot carry the value: some characters cannot be sent")
    return found


def _joined(document: object, parameter: PayloadParameter, value: object) -> object:
    """What is there already and the value, as text; the value alone where there is nothing."""
    present = jsonpath.compile(parameter.dest).get(document)
    if present is jsonpath.MISSING:
        return value
    old, new = jsonpath.text(present), _text(value)
    return old + new if parameter.operation == "append" else new + old


def _text(value: object) -> str:
    """As Argo: gjson's text, but ``null`` is written out."""
    return "null" if value is None else jsonpath.text(value)
