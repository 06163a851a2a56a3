"""Whether anybody subscribes to an event. This is checked before the event is published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from kubecdc.storage.contracts import NoSubscription
from kubecdc.storage.pubsub.registrations import Registrations

LEARN_SECONDS = 10.0


class Subscribers:
    """Remembers for `LEARN_SECONDS` that an event has subscribers; that it has none is checked again each time.

    So an event may pass for that long after its last subscription was ended. A subscription that is made elsewhere
    gets its events from Pub/Sub at once, whatever is remembered here.
    """

    def __init__(self, registrations: Registrations, now: Callable[[], float] = time.monotonic) -> None:
        self._registrations = registrations
        self._now = now
        self._asked: dict[tuple[str, str], float] = {}  # when the answer was yes, by the clock before the question

    async def require(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Check that each (source, subject) has a subscription. Raises NoSubscription, Unavailable, UsageError."""
        begin = self._now()
        unsure = {event for event in wanted if self._asked.get(event, -LEARN_SECONDS) + LEARN_SECONDS <= begin}
        if not unsure:
            return
        found = await self._registrations.subscribed(unsure)
        self._asked.update(dict.fromkeys(found, begin))
        for source, subject in sorted(unsure - found):
            raise NoSubscription.to_event(source, subject)

    def forget(self) -> None:
        """Ask again: this process has changed the subscriptions."""
        self._asked.clear()
