"""One key, and what it seals: AES-256-GCM, with the place of the sealed text as additional data.

So a text that is moved to another event or object cannot be opened. The stored form of an event is that of any other
event, except that ``encryptionkey`` names the key and ``data`` is a string: base64 of one byte for the form, the nonce,
and the ciphertext with its tag. A body of the inventory has `SEALED` and the name of the key before the nonce.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import zlib

import msgspec

from kubecdc.counts import counted
from kubecdc.storage.contracts.errors import Undecodable
from kubecdc.storage.contracts.event import Event

KEY_BYTES = 32
MAKE = "`openssl rand -base64 32` makes a key"
ID_CHARACTERS = 16
NONCE_BYTES = 12
PLAIN, ZLIB = b"\x01", b"\x02"  # the form of what was encrypted
SEALED = b"\x00"  # the first byte of a sealed body: no JSON begins with it
_LEVEL = 1  # of compression, which is for events that would be too large otherwise


class Key:
    """A key of 32 bytes. ``id`` is the beginning of its SHA-256: it names the key, and reveals nothing about it."""

    def __init__(self, secret: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.id = hashlib.sha256(secret).hexdigest()[:ID_CHARACTERS]
        self._cipher = AESGCM(secret)
        self._altered = InvalidTag

    def seal(self, text: bytes, place: bytes) -> bytes:
        """The nonce and the ciphertext, which only opens at that place."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """The text. Raises Undecodable for one that was altered, or sealed for another place."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except (self._altered, ValueError):
            raise Undecodable(
                f"what is encrypted with key {self.id} was altered, or belongs to another event or object"
            ) from None


def read_key(content: bytes) -> Key:
    """The key in the value of a Secret. Raises ValueError."""
    return Key(key_bytes(content))


def key_bytes(content: bytes) -> bytes:
    """The bytes of a key, of the value of a Secret. Raises ValueError, which shows nothing of the value."""
    try:
        secret = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None
    if len(secret) != KEY_BYTES:
        raise ValueError(f"has {counted(len(secret), 'byte')}, and a key has {KEY_BYTES}")
    return secret


def seal_event(event: Event, key: Key, *, smaller: bool = False) -> Event:
    """The event with its data sealed, and compressed before that if it is to be ``smaller``."""
    data, form = bytes(event.data), PLAIN
    if smaller:
        data, form = zlib.compress(data, _LEVEL), ZLIB
    sealed = form + key.seal(data, _of_event(form, event))
    text = msgspec.Raw(b'"%s"' % base64.b64encode(sealed))
    return msgspec.structs.replace(event, encryptionkey=key.id, data=text)


def open_event(event: Event, key: Key) -> Event:
    """The event as it was. Raises Undecodable."""
    try:
        sealed = msgspec.json.decode(event.data, type=bytes)
    except msgspec.DecodeError as e:
        raise Undecodable(f"not an encrypted event: {e}") from e
    form = sealed[:1]
    data = key.open(sealed[1:], _of_event(form, event))
    if form == ZLIB:
        data = zlib.decompress(data)
    return msgspec.structs.replace(event, encryptionkey="", data=msgspec.Raw(data))


def seal_body(body: bytes, key: Key, checkpoint: str, uid: str) -> bytes:
    """A body of the inventory, sealed."""
    return SEALED + key.id.encode() + key.seal(body, _of_object(checkpoint, uid))


def open_body(stored: bytes, key: Key, checkpoint: str, uid: str) -> bytes:
    """The body as it was. Raises Undecodable."""
    return key.open(stored[1 + ID_CHARACTERS :], _of_object(checkpoint, uid))


def key_of_body(stored: bytes) -> str:
    """The name of the key that a body is sealed with, "" if it is in the clear."""
    return stored[1 : 1 + ID_CHARACTERS].decode(errors="replace") if stored.startswith(SEALED) else ""


def _of_event(form: bytes, event: Event) -> bytes:
    """A place: names have no NUL."""
    return form + "\0".join(("event", event.source, event.id)).encode()


def _of_object(checkpoint: str, uid: str) -> bytes:
    return "\0".join(("object", checkpoint, uid)).encode()
