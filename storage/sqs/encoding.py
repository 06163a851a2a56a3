"""Events as messages: text that SQS accepts, compressed where it is long, from which the same bytes are read again.

Most events are sent as they are: JSON text. The attribute ``encoding`` tells the other forms. In ``escaped``,
characters that SQS refuses are JSON escapes, so the text is still the same JSON. ``zstd`` is base64 of Zstandard.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import zstandard

ESCAPED, ZSTD = "escaped", "zstd"
ENCODING, PARTITIONKEY, ORDER = "encoding", "partitionkey", "order"
REASON, ATTEMPTS, FIRST, LAST = "reason", "attempts", "first", "last"  # of dead letters
RESERVE = 2048  # bytes of a message that are kept free for the attributes of a dead letter
_MOST_DECODED = 64 << 20  # bytes
_LEVEL = 3
_REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPE = re.compile(r"\\u(00(?:0[0-8bcef]|1[0-9a-f])|fff[ef])", re.IGNORECASE)


@dataclass(frozen=True)
class Encoded:
    """The text of a message and its attributes."""

    text: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes that SQS counts: the text, and the names, types and values of the attributes."""
        return len(self.text.encode()) + sum(
            len(name.encode()) + len("String") + len(value.encode()) for name, value in self.attributes.items()
        )


def encoded(body: bytes, *, compress_above: int, attributes: Mapping[str, str]) -> Encoded:
    """The body as text. ``attributes`` are added; those that are empty, which SQS refuses, are left out."""
    present = {name: value for name, value in attributes.items() if value}
    if len(body) <= compress_above and (plain := _plain(body)):
        text, form = plain
        return Encoded(text, {**present, ENCODING: form} if form else present)
    packed = base64.b64encode(zstandard.ZstdCompressor(level=_LEVEL).compress(body)).decode()
    if len(packed) >= len(body) and (plain := _plain(body)):  # it was compressed before
        text, form = plain
        return Encoded(text, {**present, ENCODING: form} if form else present)
    return Encoded(packed, {**present, ENCODING: ZSTD})


def decoded(text: str, attributes: Mapping[str, str]) -> bytes:
    """The body of a message. What cannot be decoded is returned as it is: then it is no event, and a dead letter."""
    form = attributes.get(ENCODING, "")
    if form == ZSTD:
        try:
            packed = base64.b64decode(text, validate=True)
            if zstandard.frame_content_size(packed) > _MOST_DECODED:
                return text.encode()
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MOST_DECODED)
        except (binascii.Error, ValueError, zstandard.ZstdError):
            return text.encode()
    if form == ESCAPED:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    return text.encode()


def sendable(text: str, most: int) -> str:
    """The first bytes of a text, for an attribute, with a question mark for each character that SQS refuses."""
    return _REFUSED.sub("?", text).encode()[:most].decode(errors="ignore")


def is_sendable(text: str) -> bool:
    """Whether SQS accepts the text as the value of an attribute."""
    return bool(text) and not _REFUSED.search(text)


def attributes_of(message: Mapping[str, Any]) -> dict[str, str]:
    """The attributes of a received message that are text."""
    found = message.get("MessageAttributes") or {}
    return {name: value["StringValue"] for name, value in found.items() if "StringValue" in value}


def as_attributes(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Attributes as SQS takes them."""
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def _plain(body: bytes) -> tuple[str, str] | None:
    """The body as text that SQS accepts, and the form of it. None if the same bytes could not be read from it."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    if not text:
        return None
    if not _REFUSED.search(text):
        return text, ""
    if _ESCAPE.search(text):  # it could not be told from what is escaped here
        return None
    return _REFUSED.sub(lambda match: f"\\u{ord(match[0]):04x}", text), ESCAPED
