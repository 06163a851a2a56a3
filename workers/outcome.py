"""What a trigger reports, as a value. An exception is not an outcome: it counts as a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass

from kubecdc.reasons import one_line


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
    """The trigger can never work for this event, which is not retried but becomes a dead letter.

    The reason becomes one line, at most `LONGEST_REASON` characters long.
    """


Outcome = Success | Retry | Failure
