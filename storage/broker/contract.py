"""What a back end does for `broker`: send messages, and receive and settle them. The rest is the same for all of them.

A message is an event for one target, with what the broker needs to order it. `publisher.publish` decides what is sent
when; `subscription.BrokerSubscription` decides what is handed out when, what is extended, and what is handed back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kubecdc.errors import KubecdcError

Results = Sequence[KubecdcError | None]
"""What became of each message of a call, in the order of the messages; None: it is done."""


@dataclass(frozen=True)
class Outgoing:
    """An event on its way to a target. ``size`` counts all bytes that the broker counts; ``form`` is the back end's."""

    target: str
    index: int
    lane: str  # partitionkey
    size: int
    form: Any


class Sender(Protocol):
    """How a back end sends messages."""

    most: int
    """Messages in a call."""
    most_bytes: int
    """Bytes of the messages in a call, each with its attributes."""
    whole_lanes: bool
    """Whether a call has messages of one partitionkey only, and the broker takes all of them or none.

    If not, a call never has two messages of the same partitionkey.
    """
    parallel: int
    """Calls at a time."""
    seconds: float
    """The time in which a call has ended, in any case."""

    async def send(self, target: str, messages: Sequence[Outgoing]) -> Results:
        """Send messages to one target in one call, without repeating it. Raises Unavailable: any may have been sent."""
        ...


@dataclass(eq=False)
class Received:
    """A message that a broker has handed out to this process.

    ``id`` is the broker's, the same with every delivery of the message. ``order`` is `Publication.order`, "" for
    copies made on purpose (redrive). ``sent`` is when the broker took it, in seconds by its own clock; 0 if whatever
    has the same order is the same event, so that a later copy is stale too. ``receptions`` includes this one; None if
    the broker does not tell. Orders are compared within a ``series`` only: a replay is another one.
    ``until`` is when the claim lapses, by the monotonic clock of the event loop, counted from before the request was
    sent; the subscription advances it.
    """

    handle: Any  # what the broker settles it by
    id: str
    body: bytes
    lane: str  # partitionkey, or what the broker orders by
    order: str
    sent: float
    receptions: int | None
    until: float
    series: str = ""


class Source(Protocol):
    """The messages of one subscription, as a back end receives and settles them. Calls end within about 10 seconds.

    Each call raises Unavailable if it failed as a whole. A result that is ClaimLost says that the message is no longer
    ours; of a subscription that was pruned, settling is a no-op.
    """

    most: int
    """Messages in a call, of each kind."""
    longest_delay: float
    """Seconds that `release` can delay a message; 0 if it cannot. What has to wait longer is held in this process."""

    async def receive(self, most: int) -> list[Received]:
        """Wait for messages, about 3 seconds at most, and return up to so many.

        What arrives after the call was cancelled is handed back by the source itself.
        """
        ...

    async def ack(self, messages: Sequence[Received]) -> Results:
        """They are done."""
        ...

    async def extend(self, messages: Sequence[Received]) -> Results:
        """Keep the claims for another ackWait from now."""
        ...

    async def release(self, messages: Sequence[Received], delay: float) -> Results:
        """Hand them back, to be delivered again after the delay in seconds, which is at most ``longest_delay``."""
        ...

    async def dead_letter(self, message: Received, reason: str, attempts: int) -> None:
        """Put the message aside, then ack it: it may be in both places for a moment, never in neither.

        Raises ClaimLost, Unavailable.
        """
        ...
