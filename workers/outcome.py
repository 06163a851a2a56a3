"""What a trigger reports, as a value. An exception is not an outcome: it counts as a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_REASON = 1000  # characters


@dataclass(frozen=True)
class Success:
    """The trigger did its work."""


@dataclass(frozen=True)
class _Unsuccessful:
    reason: str

    def __post_init__(self) -> None:
        if len(self.reason) > LONGEST_REASON or not self.reason.isprintable():
            object.__setattr__(self, "reason", _line(self.reason))


@dataclass(frozen=True)
class Retry(_Unsuccessful):
    """It did not work now, but may later. ``after``: seconds the peer asked to wait, None if it did not.

    The reason becomes one line, at most `LONGEST_REASON` characters long.
    """

    after: float | None = None


@dataclass(frozen=True)
class Failure(_Unsuccessful):
    """It can never work for this event: it is not retried, but becomes a dead letter.

    The reason becomes one line, at most `LONGEST_REASON` characters long.
    """


Outcome = Success | Retry | Failure


def _line(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable if len(printable) <= LONGEST_REASON else f"{printable[: LONGEST_REASON - 1]}…"
