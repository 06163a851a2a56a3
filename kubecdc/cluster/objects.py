"""The common parts of objects and errors of the API server, decoded no further than needed."""

from __future__ import annotations

import msgspec

from kubecdc.cluster.errors import Malformed


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    """The part of ObjectMeta that capture needs."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None


class Status(msgspec.Struct, frozen=True):
    """The API server's error object (meta/v1 Status)."""

    message: str = ""
    reason: str = ""
    code: int = 0


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Object(msgspec.Struct, rename="camel"):
    """An object without its spec and status."""

    metadata: Meta
    kind: str = ""
    api_version: str = ""


object_decoder = msgspec.json.Decoder(Object)
_status = msgspec.json.Decoder(Status)


def decode_object(text: bytes) -> Meta:
    """The metadata of one object. Raises Malformed."""
    try:
        return object_decoder.decode(text).metadata
    except UNREADABLE as e:
        raise Malformed(f"the response is not a Kubernetes object: {e}: {shown(text)}") from e


def decode_status(body: bytes) -> Status:
    """A Status object. If the body is not one, a Status with the start of the body as its message."""
    try:
        return _status.decode(body)
    except UNREADABLE:
        return Status(message=shown(body))


def shown(text: bytes, limit: int = 120) -> str:
    """The first ``limit`` bytes of a text, for messages."""
    return repr(text[:limit].decode("utf-8", "replace")) + ("..." if len(text) > limit else "")
