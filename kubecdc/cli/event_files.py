"""Events for `kubecdc try` that somebody has written into a file."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kubecdc.errors import UsageError
from kubecdc.storage.contracts.errors import Undecodable
from kubecdc.storage.contracts.event import SPEC_VERSION, Event

STDIN = "-"
_DEFAULTS = {
    "specversion": SPEC_VERSION,
    "type": "resource",
    "datacontenttype": "application/json",
    "partitionkey": "",
    "sequence": "",
    "epoch": 0,
}
"""Attributes that an event written by hand may leave out."""


def read(file: str) -> Event:
    """The CloudEvent in a file, or in standard input. Raises UsageError."""
    name = "standard input" if file == STDIN else file
    try:
        text = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as e:
        raise UsageError(f"the event cannot be read from {name}: {e.strerror}") from e
    try:
        given = msgspec.json.decode(text)
        if not isinstance(given, dict):
            raise _invalid_event(name, "is not a JSON object")
        if "kind" in given and "specversion" not in given:
            raise _invalid_event(
                name, "is a Kubernetes object, not an event", hint="put it into `data.body` of a CloudEvent"
            )
        now = datetime.now(UTC).isoformat()
        event = Event.decode(msgspec.json.encode({**_DEFAULTS, "time": now, **given}))
        if event.encryptionkey:
            hint = "`kubecdc dlq show` decrypts an event of its bus"
            raise _invalid_event(name, f"is encrypted with key {event.encryptionkey}", hint=hint)
        return event
    except (msgspec.DecodeError, UnicodeDecodeError, Undecodable) as e:
        raise _invalid_event(name, f"is {e}" if isinstance(e, Undecodable) else f"is not JSON: {e}") from e
    except RecursionError as e:
        raise _invalid_event(name, "is nested too deep") from e


def _invalid_event(name: str, what: str, *, hint: str = "") -> UsageError:
    example = "a CloudEvent has `id`, `source` (the EventSource), `subject` (the event name) and `data`"
    return UsageError(f"{name} {what}", hint=hint or example)
