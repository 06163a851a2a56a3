"""What a trigger reports, as a value. An exception is no outcome: it is a fault, and counts as a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Success:
    """The trigger did its work."""


@dataclass(frozen=True)
class Retry:
    """It did not work now, but may later. ``after``: seconds the peer asked us to wait, None if it did not say."""

    reason: str
    after: float | None = None


@dataclass(frozen=True)
class Failure:
    """It can never work for this event: no retry, straight to the dead letters."""

    reason: str


Outcome = Success | Retry | Failure
