"""The filters of an entry. The API server evaluates labels; the watcher evaluates the rest on the new object.

The rules are Argo's; docs/argo-compatibility.md lists the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import re2

from kubecdc import jsonpath
from kubecdc.cluster.changes import Change
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.watcher import manifest

UNKNOWN = datetime.min.replace(tzinfo=UTC)


def label_selector(labels: Sequence[manifest.LabelSelector]) -> str:
    """The label selector of a list or watch request. All parts must match."""
    return ",".join(_requirement(selector) for selector in labels)


def _requirement(selector: manifest.LabelSelector) -> str:
    key, value = selector.key, selector.value
    match selector.operation:
        case "exists":
            return key
        case "!":
            return f"!{key}"
        case "in" | "notin":
            return f"{key} {selector.operation} ({value})"
        case "gt":
            return f"{key}>{value}"
        case "lt":
            return f"{key}<{value}"
        case "!=":
            return f"{key}!={value}"
        case _:
            return f"{key}={value}"


class Filter:
    """Decides which objects of an entry pass. The decision depends on the object alone, never on the time."""

    def __init__(self, entry: manifest.Entry) -> None:
        given = entry.filter
        self._prefix = given.prefix
        self._created_by = given.created_by
        self._fields = [(jsonpath.compile(f.key), re2.compile(f.value), f.operation != "!=") for f in given.fields]
        self.after_start = given.after_start
        # Stored in the checkpoint: another text is another selection.
        remembered = {"filter": given.model_dump(mode="json"), "inventory": entry.inventory}
        self.fingerprint = msgspec.json.encode(remembered, order="sorted").decode()

    def passes(self, change: Change) -> bool:
        """Whether the object passes prefix, createdBy and fields. One whose body cannot be decoded has no fields."""
        if self._prefix and not change.meta.name.startswith(self._prefix):
            return False
        if self._created_by and created(change) > self._created_by:
            return False
        if not self._fields:
            return True
        try:
            document = msgspec.json.decode(change.body)
            return all(self._matches(document, *field) for field in self._fields)
        except UNREADABLE:
            return False  # such as a number that no computer can hold

    def denial(self, change: Change) -> str:
        """Which field of the manifest keeps out an object that does not pass."""
        if self._prefix and not change.meta.name.startswith(self._prefix):
            return "filter.prefix"
        if self._created_by and created(change) > self._created_by:
            return "filter.createdBy"
        return "filter.fields"

    @staticmethod
    def _matches(document: Any, path: jsonpath.Path, pattern: Any, wanted: bool) -> bool:
        value = path.get(document)
        found = value is not jsonpath.MISSING and pattern.search(jsonpath.text(value)) is not None
        return found is wanted


def created(change: Change) -> datetime:
    """When the object was created, UTC if the server says no zone; the earliest possible time if it is not known."""
    try:
        found = datetime.fromisoformat(change.meta.creation_timestamp or "")
    except ValueError:
        return UNKNOWN
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def created_before(change: Change, start: str) -> bool:
    """Whether the object is known to have existed before `start` (RFC 3339).

    Times in Kubernetes are whole seconds, rounded down.
    """
    return UNKNOWN < created(change) < datetime.fromisoformat(start).replace(microsecond=0)


def created_after(change: Change, start: str) -> bool:
    """Whether the object was created in a later second than `start` (RFC 3339)."""
    return created(change) > datetime.fromisoformat(start).replace(microsecond=0)
