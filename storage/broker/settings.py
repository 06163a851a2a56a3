"""What the deliveries of a subscription depend on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kubecdc.storage.memory import PROCESS, Memory


@dataclass(frozen=True)
class BrokerSettings:
    """``ack_wait`` is in seconds. ``ordered``: the broker hands out a lane's messages in order, to one worker a time.

    ``receivers`` is how many calls may wait for messages at a time while there are many. ``least_held`` is how many
    messages may wait in this process even with a small prefetch: more for a broker that returns those of few objects at
    a time. ``memory`` limits the bytes of all messages, also of those that are handed out; what one call returns may
    exceed it. ``wall`` is the wall clock.
    """

    name: str
    prefetch: int
    ack_wait: float
    ordered: bool
    holder: str
    receivers: int = 4
    least_held: int = 100
    memory: Memory = field(default=PROCESS)
    rng: random.Random = field(default_factory=random.Random)
    wall: Callable[[], float] = time.time

    @property
    def held_messages(self) -> int:
        """How many messages may wait in this process, beside those that are handed out."""
        return max(self.least_held, 4 * self.prefetch)
