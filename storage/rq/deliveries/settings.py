"""What the parts of an open subscription need to know."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from kubecdc.storage.memory import PROCESS, Memory


@dataclass(frozen=True)
class SubscriptionSettings:
    """``name`` of the subscription, ``holder`` of this process. ``ack_wait``: seconds that a claim lasts.

    ``memory`` bounds the bytes that are unsettled.
    """

    name: str
    prefetch: int
    holder: str
    ack_wait: float
    rng: random.Random
    memory: Memory = field(default=PROCESS)

    @property
    def wait(self) -> int:
        """`ack_wait` in milliseconds."""
        return int(self.ack_wait * 1000)
