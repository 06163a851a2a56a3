"""How an object records the event that it was made for: Argo Events' labels, and annotations.

An object of a repeated event is recognized by them, so that it is made once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kubecdc.workers.request import TriggerRequest

SENSOR, TRIGGER = "events.argoproj.io/sensor", "events.argoproj.io/trigger"
TIMESTAMP = "events.argoproj.io/action-timestamp"
EVENT_SOURCE, EVENT_ID = "kubecdc.io/event-source", "kubecdc.io/event-id"  # together they name an event
TRACEPARENT = "kubecdc.io/traceparent"
LONGEST_NAME = 63  # of generated names, as in Kubernetes; some kinds take more, but Pods made of them do not
_LONGEST_LABEL = 63
_SUFFIX = 12  # characters; a million objects of one prefix have two of the same suffix once in 300,000 times
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # that of Kubernetes: no word comes out
_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")


@dataclass(frozen=True)
class Mark:
    """Of the objects that a trigger makes for one event. ``key`` is the same for every repetition of that.

    ``traceparent`` is that of the run that made it, "" if there is none.
    """

    sensor: str
    trigger: str
    event_source: str
    event_id: str
    key: str
    traceparent: str = ""

    @classmethod
    def of(cls, request: TriggerRequest[Any]) -> Mark:
        """That of an event and a trigger of a Sensor."""
        event, names = request.event, (label(request.sensor), label(request.trigger))
        return cls(*names, event.source, event.id, request.idempotency_key, request.traceparent)

    @property
    def token(self) -> str:
        """A short text instead of the key."""
        return _suffix(self.key)

    def name(self, prefix: str) -> str:
        """The name for a ``generateName``. A repetition gets the same."""
        return prefix[: LONGEST_NAME - _SUFFIX] + self.token

    def on(self, document: Mapping[str, Any], timestamp: str = "") -> dict[str, Any]:
        """The object with labels and annotations. ``timestamp``: milliseconds since 1970."""
        metadata = document.get("metadata") or {}
        labels = {**(metadata.get("labels") or {}), SENSOR: self.sensor, TRIGGER: self.trigger}
        if timestamp:
            labels[TIMESTAMP] = timestamp
        of_event = {EVENT_SOURCE: self.event_source, EVENT_ID: self.event_id}
        if self.traceparent:
            of_event[TRACEPARENT] = self.traceparent
        annotations = {**(metadata.get("annotations") or {}), **of_event}
        return {**document, "metadata": {**metadata, "labels": labels, "annotations": annotations}}

    def is_on(self, document: Mapping[str, Any]) -> bool:
        """Whether the object was made by this trigger for this event."""
        metadata = document.get("metadata") or {}
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        found = labels.get(SENSOR), labels.get(TRIGGER), annotations.get(EVENT_SOURCE), annotations.get(EVENT_ID)
        return found == (self.sensor, self.trigger, self.event_source, self.event_id)


@lru_cache(maxsize=1024)
def label(text: str) -> str:
    """A text as the value of a label. One that none can have is shortened, with a hash that tells it from others."""
    if _LABEL.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    start = re.sub(r"[^A-Za-z0-9]+", "-", text[: _LONGEST_LABEL - 9]).strip("-")
    return f"{start}-{digest}".lstrip("-")


def _suffix(key: str) -> str:
    number = int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:8])
    characters = []
    for _ in range(_SUFFIX):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(characters)
