"""Receives messages while there is room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kubecdc.errors import Unavailable
from kubecdc.storage.broker.contract import Received, Source
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.outage import Outage


class Receiver:
    """Keeps one call waiting for messages, and more of them while each returns all that it may.

    ``asked`` is how many messages the calls under way may return. ``room`` tells how many may be asked for now;
    `look_again` when that may have changed. ``received`` is called with each message.
    """

    def __init__(
        self, source: Source, settings: BrokerSettings, *, room: Callable[[], int], received: Callable[[Received], None]
    ) -> None:
        self.asked = 0
        self._source = source
        self._settings = settings
        self._room = room
        self._received = received
        self._changed = asyncio.Event()

    def look_again(self) -> None:
        """There may be more room than before."""
        self._changed.set()

    async def run(self) -> None:
        """Never returns. Errors that are not an outage are raised."""
        outage = Outage("cannot receive events", self._settings.rng, subscription=self._settings.name)
        calls: set[asyncio.Task[bool]] = set()
        most = 1
        try:
            while True:
                self._changed.clear()
                while len(calls) < most and (room := min(self._room(), self._source.most)) > 0:
                    self.asked += room
                    calls.add(asyncio.create_task(self._call(room)))
                if not calls:
                    await self._changed.wait()
                    continue
                changed = asyncio.create_task(self._changed.wait())
                try:
                    await asyncio.wait({*calls, changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                for call in [call for call in calls if call.done()]:
                    calls.discard(call)
                    try:
                        most = min(most + 1, self._settings.receivers) if call.result() else max(1, most - 1)
                        outage.over()
                    except Unavailable as e:
                        await asyncio.sleep(outage.failed(e))
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _call(self, room: int) -> bool:
        """Whether as many came as were asked for."""
        try:
            messages = await self._source.receive(room)
        finally:
            self.asked -= room
        for message in messages:
            self._received(message)
        return len(messages) >= room
