"""What the deliveries of all back ends have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from kubecdc.storage.contracts.deliveries import Failures
from kubecdc.storage.contracts.errors import ClaimLost, Undecodable
from kubecdc.storage.contracts.event import Event

Call = Callable[[], Awaitable[None]]


class ClaimedDelivery(ABC):
    """The part of `storage.contracts.Delivery` that every back end does alike: attempts, and settling once.

    Settling a delivery again by the same method is a no-op; by another method, or after its claim was lost, it raises
    ClaimLost. ``received`` and ``attempts`` count those before this delivery; ``failures`` were kept with them.
    ``name`` is the event's in messages.

    Queues in other packages may extend it, see docs/write-a-queue.md.
    """

    # These objects are made for each event: what is not known at first is set later.
    _event: Event | None = None
    _started = False
    _settled = ""  # by which method

    def __init__(self, body: bytes, *, name: object, received: int, attempts: int, failures: Failures) -> None:
        self.body = body
        self.attempt = attempts + 1
        self.failures = failures
        self._name = name
        self._received = received
        self._attempts = attempts

    @property
    def event(self) -> Event:
        if self._event is None:  # no cached_property: that of Python 3.11 takes a lock
            self._event = Event.decode(self.body)
        return self._event

    @property
    def readable(self) -> Event | None:
        """The event, None if it cannot be read."""
        try:
            return self.event
        except Undecodable:
            return None

    async def start(self) -> None:
        if self._received > 0:  # the worker that had it before may have died of it
            await self._while_claimed(self._record_attempt)
        self._started = True

    def withdraw(self) -> None:
        self._started = False

    @abstractmethod
    async def _record_attempt(self) -> None:
        """Store `attempt` as the number of attempts. Repeating it counts once. Raises ClaimLost, Unavailable."""

    @abstractmethod
    def _closed(self, delay: float | None) -> None:
        """Called once, when it is settled or its claim is lost.

        ``delay``: it is delivered again after so many seconds.
        """

    @property
    def _attempted(self) -> int:
        """Number of attempts, including this one if it was started and not withdrawn."""
        return self._attempts + self._started

    async def _settle(self, how: str, call: Call, *, delay: float | None = None) -> None:
        if self._settled == how:
            return
        await self._while_claimed(call)
        self._close(how, delay)

    async def _while_claimed(self, call: Call) -> None:
        if self._settled:
            raise ClaimLost.settled(self._name, self._settled)
        try:
            await call()
        except ClaimLost:
            self._close("claim lost")
            raise

    def _close(self, how: str, delay: float | None = None) -> None:
        if not self._settled:
            self._settled = how
            self._closed(delay)
