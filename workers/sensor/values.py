"""What filters and parameters read of an event: its data, decoded at most once, and its attributes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from kubecdc import jsonpath
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.sensor import templates
from kubecdc.workers.sensor.parameter_manifest import ParameterSource

_encoder = msgspec.json.Encoder()
_UNREAD = object()


class Values:
    """What filters and parameters read of one event. It is parsed at most once, and only if one of them reads it.

    ``dependency`` is its own, "" if there is only one. ``others`` are of the events that met the conditions with it.
    ``partial`` are the paths that are expected: if nothing else is asked for, no more than these read is decoded.
    """

    # What only some triggers read is set when it is needed: these objects are made for each event.
    others: Mapping[str, Values] = MappingProxyType({})
    unreadable = ""  # why the data could not be read
    _data: object = _UNREAD
    _part: object = _UNREAD
    _context: dict[str, object] | None = None
    _more: Mapping[str, object] = MappingProxyType({})  # attributes
    _meter: templates.Meter | None = None

    def __init__(self, event: Event, dependency: str = "", partial: jsonpath.Partial | None = None) -> None:
        self.event = event
        self.dependency = dependency
        self._partial = partial
        self._inputs: dict[str, Any] = {}  # of templates
        self._texts: dict[int, tuple[ParameterSource, str | templates.TemplateError]] = {}  # by the id of the source

    @property
    def size(self) -> int:
        """The bytes of data of all events of the firing."""
        size = len(self.event.data)
        if self.others:
            size += sum(len(other.event.data) for other in self.others.values())
        return size

    @property
    def meter(self) -> templates.Meter:
        """What the templates may still compute."""
        if self._meter is None:
            self._meter = templates.Meter()
        return self._meter

    def limit(self, meter: templates.Meter) -> None:
        """From now on, that is what the templates may compute, for all events of the firing together."""
        self._meter = meter
        for other in self.others.values():
            other._meter = meter

    def of(self, dependency: str) -> Values | None:
        """What there is of a dependency: this, or another event of the same firing. None if there is no event of it."""
        return self if self.dependency in ("", dependency) else self.others.get(dependency)

    def has(self, source: ParameterSource) -> bool:
        """Whether a parameter has a value. If not, its dependency is one that the conditions did not need."""
        return source.value is not None or self.of(source.dependency_name) is not None

    @property
    def data(self) -> object:
        """The event's data. If it cannot be read, there is nothing at any path."""
        if self._data is _UNREAD:
            try:
                self._data = msgspec.json.decode(self.event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
                self.unreadable = "it is nested too deep" if isinstance(e, RecursionError) else str(e)
                self._data = jsonpath.MISSING
        return self._data

    def find(self, path: jsonpath.Path) -> object:
        """What a path finds in the data, or MISSING."""
        if self._partial is None or path.source not in self._partial:
            return path.get(self.data)
        if self._part is _UNREAD:
            try:
                self._part = self._partial.decode(self.event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._part = self.data  # which tells why it cannot be read
        return path.get(self._part)

    def annotate(self, attributes: Mapping[str, object]) -> None:
        """Give the event and the ``others`` more attributes. The templates of parameters are rendered anew."""
        self._more = attributes
        self._context = None
        self._inputs.pop("context", None)
        self._texts.clear()
        for other in self.others.values():
            other.annotate(attributes)

    def forget(self) -> None:
        """Let go of the parsed data; it is parsed once more if it is asked for."""
        self._data = self._part = _UNREAD
        self._inputs.clear()

    def rendered(self, source: ParameterSource, template: str, of: Literal["data", "context"]) -> str:
        """The text that a template of a parameter gives: once for the event, however often it is asked for.

        Raises TemplateError and NeedsThread.
        """
        if (known := self._texts.get(id(source))) is None:
            try:
                text: str | templates.TemplateError = self._render(template, of)
            except templates.TemplateError as e:
                text = e
            known = self._texts[id(source)] = source, text
        if isinstance(known[1], templates.TemplateError):
            raise known[1]
        return known[1]

    def _render(self, text: str, of: Literal["data", "context"]) -> str:
        template = templates.compile(text)
        given = self._inputs.get(of)
        if given is None or template.changes:
            if (value := self.data if of == "data" else self.context) is jsonpath.MISSING:
                raise templates.TemplateError(f"the event's data cannot be read: {self.unreadable}")
            given = templates.given(value, self.meter)
            if not template.changes:
                self._inputs[of] = given
        return template.render(given, self.meter)

    @property
    def context(self) -> dict[str, object]:
        """The event's attributes: those of Argo's context, and those of kubecdc."""
        if self._context is None:
            self._context = {**context(self.event), **self._more} if self._more else context(self.event)
        return self._context

    @property
    def whole(self) -> str:
        """The event as Argo marshals it: ``data`` is a byte string there, so its JSON is base64."""
        data = base64.b64encode(self.event.data).decode()
        return _encoder.encode({"context": self.context, "data": data}).decode()


def context(event: Event) -> dict[str, object]:
    """The attributes of an event, without those that are empty."""
    found: dict[str, object] = {
        "specversion": event.specversion,
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "type": event.type,
        "time": event.time,
        "datacontenttype": event.datacontenttype,
        "partitionkey": event.partitionkey,
        "sequence": event.sequence,
        "epoch": event.epoch,
    }
    # One by one: this is done for each event.
    if event.redelivery:
        found["redelivery"] = event.redelivery
    if event.timeline:
        found["timeline"] = event.timeline
    if event.synthetic:
        found["synthetic"] = True
    if event.deselected:
        found["deselected"] = True
    if event.truncated:
        found["truncated"] = True
    if event.traceparent:
        found["traceparent"] = event.traceparent
    if event.cluster:
        found["cluster"] = event.cluster
    if "" in found.values():  # written by hand
        return {name: value for name, value in found.items() if value != ""}
    return found
