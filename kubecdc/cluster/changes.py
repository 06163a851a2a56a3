"""The lines of a watch and the pages of a list, decoded no further than needed.

Only ``type`` and ``metadata`` are decoded; the object's bytes are kept unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from kubecdc.cluster.errors import Malformed
from kubecdc.cluster.objects import UNREADABLE, Meta, object_decoder, shown


class Change(NamedTuple):
    """One line of a watch. ``type`` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; ``body`` the object's JSON."""

    type: str
    meta: Meta
    body: bytes


@dataclass(frozen=True)
class Page:
    """One page of a list. ``version`` is the list's own resourceVersion, the same on all its pages."""

    kind: str  # of the items
    version: str
    next: str  # continue token, "" on the last page
    items: list[Change]
    size: int  # bytes


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct, rename="camel"):
    metadata: _ListMeta
    kind: str = ""
    api_version: str = ""
    items: list[msgspec.Raw] | None = None


_line = msgspec.json.Decoder(_Line)
_list = msgspec.json.Decoder(_List)
_changes = frozenset({"ADDED", "MODIFIED", "DELETED"})
_known = _changes | {"BOOKMARK", "ERROR"}
_usual_starts = [(type_, f'{{"type":"{type_}","object":'.encode()) for type_ in ("MODIFIED", "ADDED", "DELETED")]


def decode_line(line: bytes) -> Change:
    """One line of a watch stream. Raises Malformed."""
    try:
        type_, body = _usual(line) or _parts(line)
        if type_ == "ERROR":
            return Change("ERROR", Meta(), body)
        try:
            meta = object_decoder.decode(body).metadata
        except UNREADABLE:
            type_, body = _parts(line)  # it only looked like the usual form
            meta = object_decoder.decode(body).metadata
    except UNREADABLE as e:
        raise Malformed(f"a line of the watch is not a change: {e}: {shown(line)}") from e
    if type_ not in _known:
        raise Malformed(f"a line of the watch has the unknown type {type_!r}")
    if not meta.resource_version or (type_ in _changes and not (meta.uid and meta.name)):
        raise Malformed(f"an object of the watch has no resourceVersion, uid or name: {shown(line)}")
    return Change(type_, meta, body)


def _usual(line: bytes) -> tuple[str, bytes] | None:
    """Type and object of a line in the usual form, found without reading the object; None for any other form.

    The caller finds out whether the object is valid when it decodes it.
    """
    for type_, start in _usual_starts:
        if line.startswith(start):
            return (type_, line[len(start) : -1]) if line.endswith(b"}") else None
    return None


def _parts(line: bytes) -> tuple[str, bytes]:
    """Type and object of any line. Raises one of `UNREADABLE`."""
    decoded = _line.decode(line)
    return decoded.type, bytes(decoded.object)


def decode_page(text: bytes) -> Page:
    """The response to a list request. Raises Malformed."""
    try:
        page = _list.decode(text)
        kind = page.kind.removesuffix("List")
        items = [_item(bytes(raw), kind, page.api_version) for raw in page.items or ()]
    except UNREADABLE as e:
        raise Malformed(f"the response to a list request is not a list: {e}: {shown(text)}") from e
    if page.metadata.resource_version in {"", "0"}:
        raise Malformed(f"the API server gives its {page.kind} no resourceVersion, so it cannot be captured")
    return Page(kind, page.metadata.resource_version, page.metadata.continue_, items, len(text))


def _item(body: bytes, kind: str, api_version: str) -> Change:
    decoded = object_decoder.decode(body)
    meta = decoded.metadata
    if not (meta.resource_version and meta.uid and meta.name):
        raise Malformed(f"a listed object has no resourceVersion, uid or name: {shown(body)}")
    if not decoded.kind:
        # Items of built-in lists omit kind and apiVersion, which a watch line of the same object has.
        head = msgspec.json.encode({"kind": kind, "apiVersion": decoded.api_version or api_version})
        body = head[:-1] + b"," + body.lstrip()[1:]
    return Change("ADDED", meta, body)
