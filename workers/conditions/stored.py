"""What is stored of a trigger's conditions: under each key what is half met, and for each completed set what it has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.contracts.event import Event

Set = Mapping[str, Event]
"""The events that a trigger fires for, by dependency."""

ALWAYS = timedelta(days=365)
CONFLICTS = 20  # in a row, each with another process
MET, SET = "met/", "set/"  # how the names of the two begin


class Held(msgspec.Struct, frozen=True):
    """The last event of a dependency. ``of`` is the print of the dependency, ``at`` seconds since 1970."""

    event: Event
    of: str
    at: float


class Record(msgspec.Struct):
    """The half-met conditions under one key.

    ``seen`` are the events that were taken into account and are perhaps not acked, True if it completed a set that is
    owed. ``ttl``: seconds for which this counts, 0 = without an end.
    """

    held: dict[str, Held] = {}
    seen: dict[str, bool] = {}
    ttl: float = 0.0

    @classmethod
    def read(cls, entry: StateEntry) -> Record:
        """Raises msgspec.DecodeError."""
        return _records.decode(entry.value)

    def change(self, entry: StateEntry | None) -> StateChange:
        """Put this in place of an entry."""
        ttl = ALWAYS if not self.ttl or any(self.seen.values()) else timedelta(seconds=self.ttl)
        return StateChange(value=_encoder.encode(self), ttl=ttl, follows=entry.version if entry else "")


class Owed(msgspec.Struct):
    """A set that was completed under a key, and that the trigger has not had yet."""

    events: dict[str, Event]
    key: str

    @classmethod
    def read(cls, entry: StateEntry) -> Owed:
        """Raises msgspec.DecodeError."""
        return _sets.decode(entry.value)

    def encoded(self) -> bytes:
        return _encoder.encode(self)


_records, _sets = msgspec.json.Decoder(Record), msgspec.json.Decoder(Owed)
_encoder = msgspec.json.Encoder()


def name_of_set(dependency: str, event: Event) -> str:
    """What tells the event apart from all others, and from itself as an event of another dependency."""
    return f"{SET}{dependency}/{event.source}/{event.id}"


def name_of_key(key: str) -> str:
    """The name of what is half met under a key; "" for all events together."""
    return f"{MET}{key if len(key) <= 200 and key.isprintable() else hashlib.sha256(key.encode()).hexdigest()}"
