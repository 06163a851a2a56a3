"""State: small values that the workers of a trigger share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True)
class StateEntry:
    """A value of a `StateStore`. ``version`` is the token of the change that wrote it, so it is never reused."""

    value: bytes
    version: str


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """A value to put. ``follows`` is the version that it was made from, "" if there was none. It expires after ``ttl``.

    ``token`` identifies this change: repeating it, because its reply was lost, is not a conflict.
    """

    value: bytes
    ttl: timedelta
    follows: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        if self.ttl < timedelta(milliseconds=1):
            raise ValueError("the ttl of a state must be a millisecond or more")


class StateStore(Protocol):
    """Small values that the workers of a trigger share, changed by compare-and-set.

    ``scope`` is the name of the trigger's subscription, without line breaks. Each scope has keys of its own. A value
    stays until it expires, even if the subscription ends.
    """

    frequent: bool
    """Whether it takes a change for each event. If not, it is used for rare changes only, as the count of attempts."""

    async def get(self, scope: str, key: str) -> StateEntry | None:
        """The value; None if there is none or it has expired. Raises Unavailable."""
        ...

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        """Put the value if the current version is the one that the change follows. The token becomes the new version.

        Raises StateConflict: read the value again. Raises Unavailable: it may have been done, repeat the same change.
        """
        ...

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        """Delete the value of that version. A no-op if there is none. Raises StateConflict, Unavailable.

        A first put, which follows nothing, may be repeated after this because its reply was lost, and restore the
        value. Where that matters, put an empty value instead.
        """
        ...

    async def keys(self, scope: str) -> list[str]:
        """The keys of the values in a scope, in any order, for commands. Raises Unavailable."""
        ...
