"""Deliveries: how a worker receives events from a bus and settles each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from kubecdc.storage.contracts.event import Event

KEPT_SECONDS = 60.0  # for which a process counts as alive that has told what it has (`Queue.keep`)


@dataclass(frozen=True)
class SubscriptionSpec:
    """Which events a subscription wants. There is one per (Sensor, trigger) and per entry of ``subscriptions``."""

    name: str
    source: str  # eventSourceName
    subject: str  # eventName


@dataclass(frozen=True)
class Failures:
    """What is kept of the failed attempts of an event, so that an outage can be told from a poison event.

    ``uncounted`` of them do not count towards ``maxDeliveries``. ``successes`` is what `Subscription.successes` was at
    the last one, or more than there can be if that one never counts. Without a failed attempt, both are 0, and with
    one, ``uncounted`` is above 0.
    """

    uncounted: int = 0
    successes: int = 0


NO_FAILURES = Failures()


class Delivery(Protocol):
    """An event and its settlement. Until ack, nack or dead_letter has returned, the event may be delivered again.

    Settling it again by the same method is a no-op, by another one it raises ClaimLost. Each call ends within the back
    end's own deadline, about 10 seconds; it raises Unavailable if there was no answer.
    """

    @property
    def event(self) -> Event:
        """The event. Raises Undecodable."""
        ...

    @property
    def body(self) -> bytes:
        """The event as stored."""
        ...

    @property
    def attempt(self) -> int:
        """The number of the attempt that `start` begins: 1 for the first."""
        ...

    @property
    def failures(self) -> Failures:
        """What `nack` was told last, by whichever worker."""
        ...

    async def start(self) -> None:
        """Count an attempt: a trigger is about to run. From the second delivery on, it is recorded before this returns.

        Raises ClaimLost, Unavailable.
        """
        ...

    def withdraw(self) -> None:
        """The attempt that `start` began does not count: this process stops, and interrupts it. `nack` follows."""
        ...

    async def ack(self) -> None:
        """The event is done. It is a success of the trigger if `start` was called, else there was nothing to do for it.

        Raises ClaimLost, Unavailable; may be repeated.
        """
        ...

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        """Deliver the event again after the delay. It counts as an attempt only if `start` was called,
        and not `withdraw`.

        ``failures`` are kept with the attempts. Without them, what was kept stays.
        """
        ...

    async def extend(self) -> None:
        """Keep the claim for another ackWait, counted from now. Raises ClaimLost, Unavailable."""
        ...

    async def dead_letter(self, reason: str) -> None:
        """Give up: keep the event as a dead letter with reason and attempts, and go on with the next of its lane."""
        ...


class Subscription(Protocol):
    """A registered subscription, opened by a worker."""

    def deliveries(self) -> AsyncIterator[Delivery]:
        """Events that are due, without end, at most ``prefetch`` in work at a time. Waits while there are none.

        Those that are being acked may count as settled, as many as ``prefetch`` again. One whose claim has lapsed is
        not in work: it may never be settled, because its settlement failed. Its event comes again, here or elsewhere.

        With Capabilities.order, no worker receives an event while an earlier one of its partitionkey is unsettled.
        Closing the iterator settles nothing: settle what was received. Unavailable is not raised: the iterator retries,
        and logs the problem once.
        """
        ...

    async def successes(self) -> int:
        """A number that has grown if the trigger has succeeded since, in any worker, as far as the back end can know.

        It never grows otherwise. Successes of one worker, between a call and its next one, are always seen. Raises
        Unavailable.
        """
        ...

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        """The specs whose events the subscription is owed, that of the latest registration first; () if it was ended.

        There is another one for each that a living process has (`Queue.keep`). Raises Unavailable.
        """
        ...
