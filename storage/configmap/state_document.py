"""The content of the ConfigMap of state: a line for each value, readable with kubectl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from kubecdc.errors import Refused
from kubecdc.storage.configmap.document import require_format
from kubecdc.storage.contracts import StateEntry

FORMAT = 1
LINES = "state"
COLUMNS = ("scope", "key", "version", "expires", "value")
LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

Name = tuple[str, str]
"""Scope and key of a value."""


class _Header(msgspec.Struct):
    """The first line. ``columns`` is for human readers."""

    format: int
    columns: tuple[str, ...] = COLUMNS


class _Bytes(msgspec.Struct, forbid_unknown_fields=True):
    """A value that is not text."""

    base64: bytes


class _Line(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    scope: str
    key: str
    version: str
    expires: Annotated[datetime, msgspec.Meta(tz=True)]
    value: str | _Bytes


class _ConfigMap(msgspec.Struct, rename="camel"):
    metadata: dict[str, Any]
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None


@dataclass(frozen=True)
class Stored:
    """A value, when it expires (seconds since 1970), and its line with the bytes that it takes."""

    name: Name
    entry: StateEntry
    expires: float
    line: str
    size: int

    @classmethod
    def of(cls, name: Name, entry: StateEntry, expires: float) -> Stored:
        """A value to be written."""
        expires = min(expires, LATEST)
        row = _Line(*name, entry.version, datetime.fromtimestamp(expires, UTC), _text(entry.value))
        line = msgspec.json.encode(row)
        return cls(name, entry, expires, line.decode(), len(line) + 1)

    @classmethod
    def read(cls, line: str) -> Stored:
        """A value that was written. Raises MsgspecError."""
        row = _decoder.decode(line)
        value = row.value.encode() if isinstance(row.value, str) else row.value.base64
        entry = StateEntry(value, row.version)
        return cls((row.scope, row.key), entry, row.expires.timestamp(), line, len(line.encode()) + 1)


@dataclass(frozen=True)
class Content:
    """All values of one moment. ``metadata`` is complete, and written back unchanged; None: there is no ConfigMap."""

    metadata: Mapping[str, Any] | None
    values: Mapping[Name, Stored]


def document(metadata: Mapping[str, Any] | None, values: Iterable[Stored]) -> dict[str, Any]:
    """The ConfigMap to send."""
    lines = [msgspec.json.encode(_Header(FORMAT)).decode(), *(stored.line for stored in values)]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": dict(metadata or {}),
        "data": {LINES: "".join(f"{line}\n" for line in lines)},
    }


def read(text: bytes | None, place: str, known: Iterable[Stored] = ()) -> Content:
    """Decode an answer; None: there is no ConfigMap. The lines of ``known`` values are not decoded again.

    Raises Refused if it is not a ConfigMap of ours, UsageError if its format is newer.
    """
    if text is None:
        return Content(None, {})
    try:
        found = msgspec.json.decode(text, type=_ConfigMap)
        if not found.data and not found.binary_data:
            return Content(found.metadata, {})  # created in advance, empty
        header, *lines = (found.data or {})[LINES].rstrip("\n").split("\n")
        require_format(msgspec.json.decode(header, type=dict[str, Any])["format"], FORMAT, place)
        by_line = {stored.line: stored for stored in known}
        values = [by_line.get(line) or Stored.read(line) for line in lines]
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as e:
        raise Refused(
            f"the ConfigMap {place} does not hold the state of triggers, or is damaged: {e!r}",
            hint="give the ConfigMap of the checkpoint another name, or delete it: then counts start again",
        ) from e
    return Content(found.metadata, {stored.name: stored for stored in values})


def _text(value: bytes) -> str | _Bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _Bytes(value)


_decoder = msgspec.json.Decoder(_Line)
