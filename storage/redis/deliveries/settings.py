"""What an open subscription of this process is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """``prefetch`` is how many deliveries may be unsettled at a time, ``ack_wait`` the seconds that a claim holds.

    ``holder`` names this process, ``now`` is its monotonic clock, ``rng`` spreads retries.
    """

    name: str
    prefetch: int
    holder: str
    partitions: int
    ack_wait: float
    now: Callable[[], float]
    rng: random.Random
