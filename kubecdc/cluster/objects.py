"""The common parts of objects and errors of the API server, decoded no further than needed."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from kubecdc.cluster.errors import Malformed

T = TypeVar("T")
OBJECT_BYTES = 2 << 20  # about the most that etcd takes for one


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    """The part of ObjectMeta that capture needs."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None


class Status(msgspec.Struct, frozen=True):
    """The API server's error object (meta/v1 Status). ``retry_after``: seconds, 0 if it asks for none."""

    message: str = ""
    reason: str = ""
    code: int = 0
    retry_after: float = 0


# A text in JSON that is not the value of one of these names; the last one may be cut off.
_TEXT = re.compile(rb'(?<!"kind")(?<!"type")(?<!"name")(?<!"namespace")(?<!"apiVersion"):\s*"(?:[^"\\]|\\.)*(?:"|$)')
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Object(msgspec.Struct, rename="camel"):
    """An object without its spec and status."""

    metadata: Meta
    kind: str = ""
    api_version: str = ""


object_decoder = msgspec.json.Decoder(Object)


def decode_object(text: bytes) -> Meta:
    """The metadata of one object. Raises Malformed."""
    try:
        return object_decoder.decode(text).metadata
    except UNREADABLE as e:
        raise Malformed(f"the response is not a Kubernetes object: {e}: {outline(text)}") from e


def decode_status(body: bytes) -> Status:
    """A Status object, without the fields that have the wrong type. If the body is none, its start is the message."""
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE:
        found = None
    if not isinstance(found, dict):
        return Status(message=shown(body))
    return Status(
        _field(found, "message", str, ""),
        _field(found, "reason", str, ""),
        _field(found, "code", int, 0),
        _field(_field(found, "details", dict, {}), "retryAfterSeconds", int, 0),
    )


def _field(document: dict[str, Any], name: str, kind: type[T], default: T) -> T:
    value = document.get(name)
    return value if isinstance(value, kind) else default


def shown(text: bytes, limit: int = 120) -> str:
    """The first ``limit`` bytes of a text, for messages."""
    return repr(text[:limit].decode("utf-8", "replace")) + ("..." if len(text) > limit else "")


def outline(text: bytes) -> str:
    """The start of what should be an object, for messages. The texts in JSON are left out: they may be secrets."""
    return shown(_TEXT.sub(b':"..."', text[:4096]) if text[:1] in (b"{", b"[") else text)
