"""What becomes of a delivery, and telling the bus so until it knows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Delivery
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.settings import Settings

log = structlog.get_logger()
T = TypeVar("T")

_PATIENCE = Backoff(duration=0.1, factor=2.0, cap=5.0, jitter=0.2)
_SAY_AFTER = 5  # failures, about 3 s: the bus's own iterator has reported the outage by then, this names the delivery


@dataclass(frozen=True)
class Ack:
    """Done."""


@dataclass(frozen=True)
class Nack:
    """Again after ``delay`` seconds."""

    delay: float


@dataclass(frozen=True)
class DeadLetter:
    """Never again by itself."""

    reason: str


Settlement = Ack | Nack | DeadLetter


def decide(outcome: Outcome, attempt: int, settings: Settings, rng: random.Random | None = None) -> Settlement:
    """The settlement that follows from an outcome of the given attempt (1 = the first)."""
    match outcome:
        case Success():
            return Ack()
        case Failure(reason):
            return DeadLetter(reason)
        case Retry(reason, after):
            if attempt >= settings.max_deliveries:
                return DeadLetter(f"gave up after {attempt} attempts: {reason}")
            return Nack(max(settings.backoff.delay(attempt, rng), after or 0.0))


async def settle(delivery: Delivery, settlement: Settlement) -> None:
    """Tell the bus, again and again while it is unavailable. Raises ClaimLost."""
    match settlement:
        case Ack():
            await persist(delivery.ack)
        case Nack(delay):
            await persist(lambda: delivery.nack(timedelta(seconds=delay)))
        case DeadLetter(reason):
            await persist(lambda: delivery.dead_letter(reason))


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call of the bus until it works. Every other error than Unavailable is the caller's.

    There is no deadline here: the bus has its own, and one more for each delivery is a tenth of what that costs.
    """
    failures = 0
    while True:
        try:
            return await call()
        except Unavailable as e:
            failures += 1
            if failures == _SAY_AFTER:
                log.warning("the bus does not take what became of a delivery; trying on", error=str(e))
            await asyncio.sleep(_PATIENCE.delay(failures))
