"""Settlements: how the outcome of a delivery is decided and reported to the bus."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from kubecdc.backoff import Backoff
from kubecdc.counts import counted
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.reasons import one_line
from kubecdc.retry import until_done
from kubecdc.storage.contracts import Delivery, Failures
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.settings import Settings

log = structlog.get_logger()
T = TypeVar("T")

_BACKOFF = Backoff(duration=0.1, factor=2.0, cap=5.0, jitter=0.2)
NEVER = 2**53 - 1  # more successes than there are: this attempt does not count whatever comes after it
_REPORTED_FAILURE = 5  # after about 3 s; the bus itself has reported the outage by then


@dataclass(frozen=True, init=False)  # it has nothing to set, and there is one for each event
class Ack:
    """Done."""


@dataclass(frozen=True)
class Nack:
    """Deliver it again after ``delay`` seconds. ``failures`` are kept, if an attempt has failed."""

    delay: float
    failures: Failures | None = None


@dataclass(frozen=True)
class DeadLetter:
    """It is not delivered again, unless an operator redrives it. The reason becomes one printable, bounded line."""

    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", one_line(self.reason))


Settlement = Ack | Nack | DeadLetter


def decide(
    outcome: Outcome,
    attempt: int,
    failures: Failures,
    successes: int,
    settings: Settings,
    left: float | None = None,
    rng: random.Random | None = None,
) -> Settlement:
    """The settlement that follows from an outcome of the given attempt (1 = the first).

    A failed attempt counts towards ``max_deliveries`` only once the trigger has succeeded for another event after it:
    before the next attempt of this event has failed too. So an outage makes no dead letter. ``failures`` is what was
    kept of those before, ``successes`` is `Subscription.successes` now. Without time ``left``, it is the last attempt.
    What this process could not try never counts.
    """
    match outcome:
        case Success():
            return Ack()
        case Failure(reason):
            return DeadLetter(reason)
        case Retry(reason, after, ours):
            works = failures.uncounted > 0 and successes > failures.successes
            uncounted = failures.uncounted - works  # the one before was the event's own failure
            if left == 0.0:
                return DeadLetter(f"gave up after {counted(attempt, 'attempt')}, {age(settings)}: {reason}")
            if works and not ours and 0 < settings.max_deliveries <= attempt - uncounted:
                outages = f", {uncounted} of them while it failed for all events" if uncounted else ""
                return DeadLetter(f"gave up after {counted(attempt, 'attempt')}{outages}: {reason}")
            delay = max(settings.backoff.delay(attempt, rng), after or 0.0)
            return Nack(delay, Failures(uncounted + 1, NEVER if ours else successes))


def age(settings: Settings) -> str:
    """Why an event without time left is given up."""
    return f"because it was captured more than {settings.give_up_after} ago (giveUpAfter)"


def settle(delivery: Delivery, settlement: Settlement) -> Coroutine[Any, Any, None]:
    """Tell the bus. The call is retried while the bus is unavailable. Raises ClaimLost."""
    match settlement:
        case Ack():
            return persist(delivery.ack)
        case Nack(delay, failures):
            return persist(lambda: delivery.nack(timedelta(seconds=delay), failures))
        case DeadLetter(reason):
            return persist(lambda: delivery.dead_letter(reason))


class _Outage:
    """Calls that a bus does not answer: they are told of once for the process, with their number."""

    def __init__(self) -> None:
        self._waiting = 0
        self._told = False

    async def outlast(self, call: Callable[[], Awaitable[T]]) -> T:
        self._waiting += 1
        try:
            await asyncio.sleep(_BACKOFF.delay(1))
            return await until_done(call, _BACKOFF, report=self._report)
        finally:
            self._waiting -= 1
            if self._told and not self._waiting:
                self._told = False
                log.info("the bus accepts settlements again", code="settlements-resumed")

    def _report(self, error: KubecdcError, failures: int) -> None:
        if failures + 1 == _REPORTED_FAILURE and not self._told:
            self._told = True
            log.warning(
                "the bus does not accept settlements; they are retried",
                code="settlements-blocked",
                deliveries=self._waiting,
                error=str(error),
                hint=error.hint,
            )


_OUTAGE = _Outage()


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call of the bus until it works. Every error but Unavailable is raised.

    There is no deadline here: the bus has its own, and another one for each delivery would cost a tenth of its time.
    """
    try:
        return await call()
    except Unavailable:
        return await _OUTAGE.outlast(call)
