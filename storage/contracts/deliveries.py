"""Deliveries: what a worker takes off a bus, and how it settles each event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from kubecdc.storage.contracts.event import Event


@dataclass(frozen=True)
class SubscriptionSpec:
    """Who wants what: one per (Sensor, trigger), or an entry of the EventBus's ``subscriptions``."""

    name: str
    source: str  # eventSourceName
    subject: str  # eventName


class Delivery(Protocol):
    """An event and its settlement. After ack, nack or dead_letter returned it is over; before, it is repeated.

    Each call ends within the back end's own deadline, about 10 s: with Unavailable if there was no answer.
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

    async def start(self) -> None:
        """A trigger is about to run: this is an attempt. From the second reception on it is recorded before return.

        Raises ClaimLost, Unavailable.
        """
        ...

    async def ack(self) -> None:
        """Done. Raises ClaimLost, Unavailable; may be repeated."""
        ...

    async def nack(self, delay: timedelta) -> None:
        """Hand it back, to be delivered again after the delay. Counts as an attempt only if `start` was called."""
        ...

    async def extend(self) -> None:
        """Keep the claim for another ackWait from now. Raises ClaimLost, Unavailable."""
        ...

    async def dead_letter(self, reason: str) -> None:
        """Give up on it: keep it aside with reason and attempts, and go on with the next of its partitionkey."""
        ...


class Subscription(Protocol):
    def deliveries(self) -> AsyncIterator[Delivery]:
        """What is due, for ever, at most ``prefetch`` unsettled at a time; waits while there is nothing.

        With Capabilities.order, no event is handed out, by any worker, while an earlier one of its partitionkey is not
        settled. Closing the iterator hands nothing back: settle what was received.
        Unavailable is not raised: the iterator retries, and says so once.
        """
        ...

    async def registered(self) -> SubscriptionSpec | None:
        """What it is registered for now, by the process that did so last; None if it was ended. Raises Unavailable."""
        ...
