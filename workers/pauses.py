"""What an operator has paused in the bus, looked up for all triggers of a process at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Set

import structlog

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus
from kubecdc.storage.outage import Outage
from kubecdc.storage.pauses import paused

log = structlog.get_logger()
CHECK_SECONDS = 2.0


class Pauses:
    """Nothing is delivered until the bus has said what is paused. While it does not answer, its last answer applies.

    `watch` has to run. ``stop`` of each call is set when the work on its subscription is to end.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._names: set[str] = set()  # the subscriptions of this process
        self._paused: Set[str] | None = None
        self._changed = asyncio.Event()  # a new one after each change

    async def watch(self) -> None:
        """Look at the bus again and again. Never returns, unless the bus cannot pause."""
        outage = Outage("cannot see which subscriptions are paused", random.Random(), code="pauses-unreadable")
        while self._bus.capabilities.pauses:
            wait = CHECK_SECONDS
            try:
                self._set(await paused(self._bus))
                outage.over()
            except Unavailable as e:
                if self._paused is None:  # later, the consumers tell of an outage of the bus
                    wait = outage.failed(e)
            await asyncio.sleep(wait)
        self._set(frozenset())

    def add(self, name: str) -> None:
        """This process has the subscription."""
        self._names.add(name)
        if self.paused(name):
            self._tell_paused(name)

    def remove(self, name: str) -> None:
        """It has it no more."""
        self._names.discard(name)

    def paused(self, name: str) -> bool | None:
        """Whether a subscription is, as far as is known; None before the bus has told."""
        return None if self._paused is None else name in self._paused

    async def resumed(self, name: str, stop: asyncio.Event) -> bool:
        """Wait until a subscription is not paused. False if the work on it is to end."""
        await self._until(name, stop, paused=False)
        return not stop.is_set()

    async def halt(self, name: str, halt: asyncio.Event, stop: asyncio.Event) -> None:
        """Set ``halt`` once the subscription is paused, or the work on it is to end."""
        await self._until(name, stop, paused=True)
        halt.set()

    async def _until(self, name: str, stop: asyncio.Event, *, paused: bool) -> None:
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set() and (self._paused is None or (name in self._paused) != paused):
                changed = asyncio.create_task(self._changed.wait())
                try:
                    await asyncio.wait((stopped, changed), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
        finally:
            stopped.cancel()

    def _set(self, found: Set[str]) -> None:
        if found == self._paused:
            return
        known, self._paused = self._paused or frozenset(), found
        for name in sorted((found - known) & self._names):
            self._tell_paused(name)
        for name in sorted((known - found) & self._names):
            log.info("resumed", code="resumed", subscription=name)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _tell_paused(self, name: str) -> None:
        log.info("paused", code="paused", subscription=name, hint=f"`kubecdc bus resume {name}` delivers again")
