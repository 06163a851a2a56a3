"""Settings that are the same for every trigger of a process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from kubecdc.backoff import Backoff
from kubecdc.concurrency import Limit
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redelivery import Redelivery
from kubecdc.workers.scripts.runner import Scripts

log = structlog.get_logger()


@dataclass(frozen=True)
class Settings:
    """The bus's ``ackWait`` and ``redelivery``, and the bounds of a process.

    ``grace`` and ``settle`` together stay below the 5 s that a process has to exit after SIGTERM.
    """

    ack_wait: timedelta = timedelta(seconds=30)  # how long a claim holds without being extended
    max_deliveries: int = 20  # attempts that count; after the last one the event becomes a dead letter. 0: never
    give_up_after: timedelta | None = None  # the age at which an event that fails becomes a dead letter in any case
    backoff: Backoff = field(default_factory=Backoff)  # before the second, third, ... attempt
    concurrency: int = 64  # deliveries in flight per trigger
    grace: float = 3.0  # seconds for triggers that run at a stop
    settle: float = 0.8  # seconds to settle their deliveries
    wall: Callable[[], float] = time.time  # seconds since 1970, by which events have their age
    scripts: Scripts = field(default_factory=Scripts)  # whoever has made the settings closes them
    debug: bool = field(default_factory=lambda: log.is_enabled_for(logging.DEBUG))  # whether to explain each delivery
    large: Limit = field(default_factory=lambda: Limit(2))  # of events that are prepared in threads: they share a core

    @classmethod
    def of(cls, redelivery: Redelivery, *, ack_wait: timedelta, concurrency: int) -> Settings:
        """Those that the manifest of a bus has, ``ack_wait`` as the bus has made it."""
        return cls(
            ack_wait=ack_wait,
            max_deliveries=redelivery.max_deliveries,
            give_up_after=redelivery.give_up_after,
            backoff=redelivery.backoff.schedule(),
            concurrency=concurrency,
        )

    def left(self, event: Event) -> float | None:
        """Seconds until the event is given up if it fails, at least 0; None if its age does not matter."""
        if self.give_up_after is None:
            return None
        try:
            captured = datetime.fromisoformat(event.time).timestamp()
        except ValueError:
            return None
        return max(0.0, captured + self.give_up_after.total_seconds() - self.wall())
