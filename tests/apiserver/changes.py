"""States of objects and the changes between them, each encoded once."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.apiserver.resources import Kind

_decode = msgspec.json.Decoder().decode
_encoder = msgspec.json.Encoder(order="sorted")


def encode(value: object) -> bytes:
    """JSON as Go writes it: keys in order, ``<``, ``>`` and ``&`` escaped."""
    raw = _encoder.encode(value)
    if b"<" in raw or b">" in raw or b"&" in raw:
        raw = raw.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return raw


class Stored:
    """One state of one object. ``raw`` is its JSON, written once and sent to everybody."""

    __slots__ = ("deleting", "generation", "key", "labels", "name", "namespace", "raw", "uid", "version")

    def __init__(self, key: str, version: int, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        metadata["resourceVersion"] = str(version)
        self.key = key
        self.version = version
        self.name: str = metadata["name"]
        self.namespace: str = metadata.get("namespace", "")
        self.uid: str = metadata["uid"]
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.generation: int = metadata.get("generation", 0)
        self.deleting = "deletionTimestamp" in metadata
        self.raw = encode(body)

    def body(self) -> dict[str, Any]:
        """A copy of the object that may be changed."""
        body: dict[str, Any] = _decode(self.raw)
        return body


class Change:
    """One committed write. ``current`` is the new state, of a deletion the last one under the deletion's version."""

    __slots__ = ("_lines", "at", "current", "kind", "previous", "type", "version")

    def __init__(self, kind: Kind, kind_of_change: str, current: Stored, previous: Stored | None, at: float) -> None:
        self.kind = kind
        self.type = kind_of_change
        self.current = current
        self.previous = previous
        self.version = current.version
        self.at = at
        self._lines: dict[str, bytes] = {}

    def line(self, shown: str) -> bytes:
        """The watch line of the change, as ADDED, MODIFIED or DELETED; made once for all watchers."""
        line = self._lines.get(shown)
        if line is None:
            raw = self.current.raw
            if shown == "DELETED" and self.type != "DELETED" and self.previous:
                raw = Stored(self.previous.key, self.version, self.previous.body()).raw
            line = self._lines[shown] = watch_line(shown, raw)
        return line


def watch_line(shown: str, raw: bytes) -> bytes:
    """One line of a watch stream."""
    return b'{"type":"%s","object":%s}\n' % (shown.encode(), raw)
