"""State: small values that the workers of a trigger share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True)
class StateEntry:
    """A value of a `StateStore`. ``version`` is the token of the change that made it, so it never comes again."""

    value: bytes
    version: str


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """What to put: ``follows`` is the version it was made from, "" if there was none. After ``ttl`` it is gone.

    ``token`` names this very change: one that is repeated because its reply was lost is done, and no conflict.
    """

    value: bytes
    ttl: timedelta
    follows: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        if self.ttl < timedelta(milliseconds=1):
            raise ValueError("a state lives for a millisecond at least")


class StateStore(Protocol):
    """Small values that the workers of a trigger share, by compare-and-set.

    ``scope`` is the name of the trigger's subscription, and has no line breaks; keys of different scopes do not meet.
    What is put stays until its time is over, also when the subscription ends.
    """

    async def get(self, scope: str, key: str) -> StateEntry | None:
        """The value as it is, None if there is none, or its time is over. Raises Unavailable."""
        ...

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        """Put the value if what is there still is what the change follows; its version is then the change's token.

        Raises StateConflict: read again. Raises Unavailable: it happened or not, repeat the same change.
        """
        ...

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        """Forget the value of that version. Nothing happens if there is none. Raises StateConflict, Unavailable.

        A first put (that follows nothing) whose reply was lost may be repeated after this, and be there again. Where
        that matters put an empty value instead.
        """
        ...
