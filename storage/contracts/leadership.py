"""Leadership: which process watches for a bus."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True)
class Term:
    """One holding of the lead. ``number`` is the epoch and only grows; ``holder`` is for people."""

    number: int
    holder: str


@dataclass(frozen=True)
class LeadTimes:
    """``duration``: how long a leader that is not heard of keeps the lead. ``deadline``: how long it may act since the
    last renewal that succeeded was sent; the shorter one. ``period``: between two renewals."""

    duration: timedelta = timedelta(seconds=15)
    deadline: timedelta = timedelta(seconds=10)
    period: timedelta = timedelta(seconds=2)


class Elector(Protocol):
    def lead(self) -> AbstractAsyncContextManager[Term]:
        """Wait until this process leads; leave to hand over. The term is above every earlier one.

        An elector that can lose the lead cancels the block when it does, and raises LeadershipLost.
        """
        ...
