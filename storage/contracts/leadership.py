"""Leadership: the one process that watches for a bus."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True)
class Term:
    """A period of leadership. ``number`` is the epoch, which only grows; ``holder`` names the process in logs."""

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
    """Elects the leader."""

    def lead(self) -> AbstractAsyncContextManager[Term]:
        """Wait until this process leads; leave the block to hand over. The term is newer than every earlier one.

        An elector that can lose the lead cancels the block when that happens, and raises LeadershipLost.
        """
        ...
