"""Events as messages of Pub/Sub."""

from __future__ import annotations

import hashlib
from typing import Any

import zstandard

from kubecdc.storage.contracts.event import Event
from kubecdc.storage.pubsub.client import PubsubMessage
from kubecdc.storage.pubsub.names import entry_of

SOURCE, SUBJECT, ENTRY, ID, ORDER, ENCODING, FOR = "source", "subject", "entry", "id", "order", "encoding", "for"
ZSTD = "zstd"
LONGEST_KEY = 1024  # bytes of an ordering key
LONGEST_ATTRIBUTE = 1024  # bytes of the value
FRAME_BYTES = 8  # that a publish request has for each message
SOME_ORDER = "0" * 32  # of the length of a `Publication.order`
_LEVEL = 3
_MOST_DECODED = 64 << 20  # bytes


def message_of(event: Event, order: str, most_bytes: int) -> Any:
    """The event as a message, compressed if it would be too large otherwise. It may be too large even so."""
    message = _message(event, order)
    if size_of(message) > most_bytes:
        compress(message, message.data)
    return message


def compress(message: Any, body: bytes) -> None:
    """Make an event the data of a message, compressed."""
    message.data = zstandard.ZstdCompressor(level=_LEVEL).compress(body)
    message.attributes[ENCODING] = ZSTD


def fits(event: Event, most_bytes: int) -> bool:
    """Whether the event can be carried, compressed or not."""
    if len(event.data) < most_bytes // 2:  # names and attributes take a few kilobytes
        return True
    return size_of(message_of(event, SOME_ORDER, most_bytes)) <= most_bytes


def size_of(message: Any) -> int:
    """The bytes that the message takes of a publish request, with its attributes."""
    return int(message.ByteSize()) + FRAME_BYTES


def key_of(partitionkey: str) -> str:
    """The ordering key: the partitionkey, or its digest if it is too long."""
    coded = partitionkey.encode()
    return partitionkey if len(coded) <= LONGEST_KEY else f"sha256:{hashlib.sha256(coded).hexdigest()}"


def attribute(text: str) -> str:
    """A text as the value of an attribute, cut if it is too long."""
    coded = text.encode()
    return text if len(coded) <= LONGEST_ATTRIBUTE else coded[: LONGEST_ATTRIBUTE - 3].decode(errors="ignore") + "…"


def body_of(message: Any) -> bytes:
    """The event as it was encoded. What cannot be read is returned as it is: then it is no event, and a dead letter."""
    data = bytes(message.data)
    if message.attributes.get(ENCODING) != ZSTD:
        return data
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MOST_DECODED)
    except zstandard.ZstdError:
        return data


def _message(event: Event, order: str) -> Any:
    attributes = {
        SOURCE: attribute(event.source),
        SUBJECT: attribute(event.subject),
        ENTRY: entry_of(event.source, event.subject),
        ID: attribute(event.id),
    }
    if order:
        attributes[ORDER] = order
    return PubsubMessage(data=event.encode(), attributes=attributes, ordering_key=key_of(event.partitionkey))
