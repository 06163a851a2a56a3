"""What an open subscription of this process is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from kubecdc.storage.memory import PROCESS, Memory


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """``prefetch`` is how many deliveries may be unsettled at a time, ``ack_wait`` how long a claim holds.

    ``holder`` names this process, ``clock`` is wall-clock time, ``rng`` spreads retries, ``memory`` bounds the bytes
    that are unsettled.
    """

    name: str
    prefetch: int
    holder: str
    ack_wait: timedelta
    clock: Callable[[], float]
    rng: random.Random
    memory: Memory = field(default=PROCESS)
