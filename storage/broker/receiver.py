"""Receives messages while there is room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress

from kubecdc.errors import Unavailable
from kubecdc.storage.broker.contract import Received, Source
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.memory import Share
from kubecdc.storage.outage import Outage

CROWDED = 0.2  # seconds until a subscription without room looks whether others have made some


class Receiver:
    """Keeps one call waiting for messages, and more calls while each returns as many as it may.

    ``asked`` is how many messages the calls under way may return, ``share`` what may be held. ``room`` tells how many
    may be asked for now; `look_again` when that may have changed. ``received`` is called with each message.
    """

    def __init__(
        self,
        source: Source,
        settings: BrokerSettings,
        share: Share,
        *,
        room: Callable[[], int],
        received: Callable[[Received], None],
    ) -> None:
        self.asked = 0
        self._source = source
        self._settings = settings
        self._share = share
        self._room = room
        self._received = received
        self._busy = False  # the last call returned all that it might
        self._changed = asyncio.Event()

    def look_again(self) -> None:
        """There may be more room than before."""
        self._changed.set()

    async def run(self) -> None:
        """Never returns. Errors that are not an outage are raised."""
        outage = Outage(
            "cannot receive events", self._settings.rng, code="receiving-failed", subscription=self._settings.name
        )
        calls: set[asyncio.Task[bool]] = set()
        most = 1
        try:
            while True:
                self._changed.clear()
                while len(calls) < most and (room := min(self._room(), self._source.most)) > 0:
                    calls.add(self._begin(room))
                if not calls:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CROWDED):
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
                        self._busy = call.result()
                        most = min(most + 1, self._settings.receivers) if self._busy else max(1, most - 1)
                        outage.over()
                    except Unavailable as e:
                        await asyncio.sleep(outage.failed(e))
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    def _begin(self, room: int) -> asyncio.Task[bool]:
        """While there is little, a call may wait for long: it takes no room that others could use."""
        taken = ExitStack()
        if self._busy:
            taken.enter_context(self._share.asked(room))  # before another subscription looks for room
        else:
            room = min(room, max(1, self._share.own_events - self.asked))
        self.asked += room
        return asyncio.create_task(self._call(room, taken))

    async def _call(self, room: int, taken: ExitStack) -> bool:
        """Whether as many came as were asked for. ``taken`` is the room for them."""
        try:
            with taken:
                messages = await self._source.receive(room)
        finally:
            self.asked -= room
        for message in messages:
            self._received(message)
        return len(messages) >= room
