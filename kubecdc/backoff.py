"""Exponential backoff with jitter. This module computes the delays; the caller sleeps."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """``duration * factor**n`` seconds, at most ``cap``, varied by up to ``jitter`` (a fraction) in both directions."""

    duration: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: float = 0.2

    def delay(self, failures: int, rng: random.Random | None = None) -> float:
        """Seconds to wait after the given number of failures in a row (1 = the first). Never below zero."""
        try:
            base = min(self.duration * self.factor ** max(failures - 1, 0), self.cap)
        except OverflowError:
            base = self.cap
        spread = (rng or random).uniform(-self.jitter, self.jitter)  # jitter, not a secret
        return max(0.0, base * (1.0 + spread))
