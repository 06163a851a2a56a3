"""What a trigger reports, as a value. An exception is not an outcome: it counts as a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_REASON = 1000  # characters


@dataclass(frozen=True, init=False)  # it has nothing to set, and there is one for each event
class Success:
    """The trigger did its work."""


@dataclass(frozen=True)
class _Unsuccessful:
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", one_line(self.reason))


@dataclass(frozen=True)
class Retry(_Unsuccessful):
    """It did not work now, but may later. ``after``: seconds the peer asked to wait, None if it did not.

    ``ours``: this process could not try, whatever the event. That never counts towards `maxDeliveries`.

    The reason becomes one line, at most `LONGEST_REASON` characters long.
    """

    after: float | None = None
    ours: bool = False


@dataclass(frozen=True)
class Failure(_Unsuccessful):
    """It can never work for this event: it is not retried, but becomes a dead letter.

    The reason becomes one line, at most `LONGEST_REASON` characters long.
    """


Outcome = Success | Retry | Failure


def one_line(text: str) -> str:
    """The text as one printable line, at most `LONGEST_REASON` characters long. Only that much of it is looked at."""
    start = text[: LONGEST_REASON + 1]
    if not start.isprintable():
        start = "".join(c if c.isprintable() else " " for c in start)
    return start if len(start) <= LONGEST_REASON else f"{start[: LONGEST_REASON - 1]}…"
