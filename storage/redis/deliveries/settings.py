"""What an open subscription of this process is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from kubecdc.storage.memory import PROCESS, Memory

MANY = 50  # open subscriptions of a process, from which on each does less often what it does without an event
READ_AHEAD = Memory(50_000)  # entries in this process: behind the backlog of one object there may be others' events


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """``prefetch`` is how many deliveries may be unsettled at a time, ``ack_wait`` the seconds that a claim holds.

    ``holder`` names this process, ``now`` is its monotonic clock, ``rng`` spreads retries. ``memory`` bounds the bytes
    of what is read and not settled, ``entries`` the number of events.
    """

    name: str
    prefetch: int
    holder: str
    partitions: int
    ack_wait: float
    now: Callable[[], float]
    rng: random.Random
    memory: Memory = field(default=PROCESS)
    entries: Memory = field(default=READ_AHEAD)

    @property
    def crowd(self) -> float:
        """How many times less often this subscription does what is done without an event, because there are others."""
        return max(1.0, self.entries.shares / MANY)
