"""Seals and opens events with the keys of a bus, or leaves them as they are if the bus does not encrypt."""

from __future__ import annotations

from typing import Protocol

from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.errors import Locked
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption.sealing import key_of_body


class Codec(Protocol):
    """For what stores events beside the bus, as the state of conditions does."""

    def seal(self, event: Event) -> Event:
        """The event as it may be stored. Raises Unavailable."""
        ...

    def open(self, event: Event) -> Event:
        """The event of what was stored, which may be in the clear. Raises Locked, Undecodable."""
        ...


class Clear:
    """The `Codec` of a bus that does not encrypt, or does not do so any more."""

    def seal(self, event: Event) -> Event:
        return event

    def open(self, event: Event) -> Event:
        if event.encryptionkey:
            raise Locked.of(event.encryptionkey, "the EventBus has no `encryption`")
        return event


CLEAR = Clear()


def codec_of(bus: Bus) -> Codec:
    """That of an open bus."""
    codec: Codec = getattr(bus, "codec", CLEAR)
    return codec


def require_clear(body: bytes) -> None:
    """Raise Locked for a body of the inventory that nobody has opened: the bus encrypted once."""
    if key := key_of_body(body):
        raise Locked.of(key, "the EventBus has no `encryption`")
