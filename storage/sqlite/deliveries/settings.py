"""What an open subscription of this process is told."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

from kubecdc.storage.memory import PROCESS, Memory
from kubecdc.storage.sqlite.clock import BusClock


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """``prefetch`` is how many deliveries may be unsettled at a time, ``ack_wait`` how long a claim holds.

    ``holder`` names this process, ``times`` has the time of the bus, ``rng`` spreads retries, ``memory`` bounds the
    bytes that are unsettled.
    """

    name: str
    prefetch: int
    holder: str
    ack_wait: timedelta
    times: BusClock
    rng: random.Random
    memory: Memory = field(default=PROCESS)
