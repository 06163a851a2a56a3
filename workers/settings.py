"""Settings that are the same for every trigger of a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from kubecdc.backoff import Backoff
from kubecdc.concurrency import Limit


@dataclass(frozen=True)
class Settings:
    """The bus's ``ackWait`` and ``redelivery``, and the bounds of a process.

    ``grace`` and ``settle`` together stay below the 5 s that a process has to exit after SIGTERM.
    """

    ack_wait: timedelta = timedelta(seconds=30)  # how long a claim holds without being extended
    max_deliveries: int = 20  # attempts that count; after the last one the event becomes a dead letter
    backoff: Backoff = field(default_factory=Backoff)  # before the second, third, ... attempt
    concurrency: int = 64  # deliveries in flight per trigger
    grace: float = 3.0  # seconds for triggers that run at a stop
    settle: float = 1.0  # seconds to settle their deliveries
    large: Limit = field(default_factory=lambda: Limit(2))  # of events that are prepared in threads: they share a core
