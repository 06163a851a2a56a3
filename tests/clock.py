"""Clocks that a test sets."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """Stands still unless it is told."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class RunningClock:
    """The time now, and what a test adds to it."""

    ahead: float = 0.0

    def wall(self) -> float:
        return time.time() + self.ahead

    def now(self) -> float:
        return time.monotonic() + self.ahead
