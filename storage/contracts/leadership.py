"""Leadership: the one process that watches for a bus."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

# Counted from here, a term is an integer of CloudEvents (32 bits) until 2088.
FIRST_YEAR = datetime(2020, 1, 1, tzinfo=UTC)


def least_term(wall: float | None = None) -> int:
    """The smallest number for a term that begins at that time of day, in seconds: those since 2020. None: it is now.

    A store knows the terms before it, and the next one is greater. If the store came back older, the clock keeps it
    from using a number again. Otherwise, an old leader would not be refused, and workers would take new changes for
    ones that are done (`Publication.order`).
    """
    return int((time.time() if wall is None else wall) - FIRST_YEAR.timestamp())


def endless() -> float:
    """The time left of a term that cannot be lost while its process lives, because the kernel holds its lock."""
    return math.inf


@dataclass(frozen=True)
class Term:
    """A period of leadership. ``number`` is the epoch, which only grows, and is not below `least_term`.

    ``holder`` names the process in logs.

    ``left`` returns the seconds from now for which the process may act, by its own clock; 0 or less: it must not.
    Every renewal of the lead extends it; while they succeed, at least ``assured`` seconds are left.
    """

    number: int
    holder: str
    left: Callable[[], float] = field(default=endless, compare=False, repr=False)
    assured: float = field(default=math.inf, compare=False, repr=False)


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
        """Wait until this process leads; leave the block to hand over. The term is newer than every earlier one,
        and its number is not below `least_term`.

        An elector that can lose the lead cancels the block when that happens, and raises LeadershipLost.
        """
        ...
