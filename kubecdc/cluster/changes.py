"""The lines of a watch and the pages of a list, decoded no further than needed.

Only ``type`` and ``metadata`` are decoded; the object's bytes are kept unchanged. An object that cannot be captured is
left out, and the rest goes on, also where it is no valid JSON. What is no line or list of an API server is Malformed:
none of it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import msgspec

from kubecdc.cluster import odd_json
from kubecdc.cluster.errors import Malformed
from kubecdc.cluster.objects import UNREADABLE, Meta, object_decoder, outline


class Change(NamedTuple):
    """One line of a watch. ``type`` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; ``body`` the object's JSON."""

    type: str
    meta: Meta
    body: bytes


class LeftOut(Exception):
    """One object cannot be captured: its text says why. ``meta`` is what is known of it, ``text`` its start."""

    def __init__(self, reason: str, text: bytes, meta: Meta | None = None) -> None:
        super().__init__(reason)
        self.meta = meta or Meta()
        self.text = outline(text)


@dataclass(frozen=True)
class Page:
    """One page of a list. ``version`` is the list's own resourceVersion, the same on all its pages."""

    kind: str  # of the items
    version: str
    next: str  # continue token, "" on the last page
    items: list[Change]
    size: int  # bytes
    left_out: list[LeftOut] = field(default_factory=list)
    remaining: int | None = None  # objects on the pages after it, if the server says so


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str | None = None
    continue_: str | None = msgspec.field(name="continue", default=None)
    remaining_item_count: Any = None  # only told to people


class _List(msgspec.Struct, rename="camel"):
    metadata: _ListMeta
    kind: str | None = None
    api_version: str | None = None
    items: list[msgspec.Raw] | None = None


_line = msgspec.json.Decoder(_Line)
_list = msgspec.json.Decoder(_List)
_changes = frozenset({"ADDED", "MODIFIED", "DELETED"})
NO_POSITION = frozenset({"", "0"})  # a watch from there begins with every object
NO_METADATA = "an object without metadata, or with metadata of the wrong type"
NO_JSON = "an object that is no valid JSON"
NO_NAMES = "an object without uid, name or resourceVersion"
TOO_DEEP = "an object that is nested too deep"
_usual_starts = [(type_, f'{{"type":"{type_}","object":'.encode()) for type_ in ("MODIFIED", "ADDED", "DELETED")]


def decode_line(line: bytes) -> Change:
    """One line of a watch stream. Raises Malformed, and LeftOut for a change that cannot be captured."""
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
        return _unusual(line, e)
    if type_ in _changes:
        if not (meta.uid and meta.name and meta.resource_version) or meta.resource_version == "0":
            raise LeftOut(NO_NAMES, body, meta)
    elif type_ != "BOOKMARK":
        raise LeftOut("a line of an unknown type", line, meta)
    elif meta.resource_version in NO_POSITION:
        raise LeftOut("a bookmark without resourceVersion", line)
    return Change(type_, meta, body)


def _unusual(line: bytes, error: Exception) -> Change:
    """Any other ERROR. Raises LeftOut if the line is one of an API server, whatever its object is; else Malformed."""
    try:
        document = odd_json.decode(line)
    except RecursionError as e:
        if line.startswith(b'{"type":"') and line.endswith(b"}"):
            raise LeftOut(TOO_DEEP, line) from e
        _no_change(line, e)
    except ValueError as e:
        _no_change(line, e)
    if not (isinstance(document, dict) and isinstance(document.get("type"), str)):
        _no_change(line, error)
    if document["type"] == "ERROR":
        return Change("ERROR", Meta(), b"null")
    raise LeftOut(_reason(error), line, _known(document.get("object"))) from error


def _reason(error: Exception) -> str:
    return NO_METADATA if isinstance(error, msgspec.ValidationError) else NO_JSON


def _read(body: bytes) -> Meta:
    """What can be read of the metadata of an odd object."""
    try:
        return _known(odd_json.decode(body))
    except (ValueError, RecursionError):
        return Meta()


def _known(document: object) -> Meta:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    found = metadata if isinstance(metadata, dict) else {}
    texts = {name: value for name, value in found.items() if isinstance(value, str) and value.isprintable()}
    return msgspec.convert(texts, Meta)


def _no_change(line: bytes, error: Exception) -> NoReturn:
    raise Malformed(f"a line of the watch is not a change: {error}: {outline(line)}") from error


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
    except UNREADABLE as e:
        page = _with_odd_items(text, e)
    version = page.metadata.resource_version or ""
    if version in NO_POSITION:
        raise Malformed(f"the API server gives its {page.kind} no resourceVersion, so it cannot be captured")
    kind = (page.kind or "").removesuffix("List")
    items: list[Change] = []
    left_out: list[LeftOut] = []
    for raw in page.items or ():
        try:
            items.append(_item(bytes(raw), kind, page.api_version or ""))
        except LeftOut as e:
            left_out.append(e)
    remaining = page.metadata.remaining_item_count
    remaining = remaining if isinstance(remaining, int) else None
    return Page(kind, version, page.metadata.continue_ or "", items, len(text), left_out, remaining)


def _with_odd_items(text: bytes, error: Exception) -> _List:
    """A list that is valid JSON but for its items. Raises Malformed."""
    try:
        fields = odd_json.fields(text)
        items = odd_json.items(fields.pop(b'"items"'))
        page = _list.decode(b"{%b}" % b",".join(b"%b:%b" % field for field in fields.items()))
    except (KeyError, ValueError, *UNREADABLE):
        raise Malformed(f"the response to a list request is not a list: {error}: {outline(text)}") from error
    page.items = [msgspec.Raw(item) for item in items]
    return page


def _item(body: bytes, kind: str, api_version: str) -> Change:
    try:
        decoded = object_decoder.decode(body)
    except RecursionError as e:
        raise LeftOut(TOO_DEEP, body) from e
    except UNREADABLE as e:
        raise LeftOut(_reason(e), body, _read(body)) from e
    meta = decoded.metadata
    if not (meta.uid and meta.name) or meta.resource_version in NO_POSITION:
        raise LeftOut(NO_NAMES, body, meta)
    if not decoded.kind:
        # Items of built-in lists omit kind and apiVersion, which a watch line of the same object has.
        head = msgspec.json.encode({"kind": kind, "apiVersion": decoded.api_version or api_version})
        body = head[:-1] + b"," + body.lstrip()[1:]
    return Change("ADDED", meta, body)
