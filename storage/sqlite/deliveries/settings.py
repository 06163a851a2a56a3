"""What an open subscription of this process is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """``prefetch`` is how many deliveries may be unsettled at a time, ``ack_wait`` how long a claim holds.

    ``holder`` names this process, ``clock`` is wall-clock time, ``rng`` spreads retries.
    """

    name: str
    prefetch: int
    holder: str
    ack_wait: timedelta
    clock: Callable[[], float]
    rng: random.Random
