"""Tells the open subscriptions of this process that something happened in the bus, in whatever process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage.errors import KubecdcError
from storage.redis.connection import BLOCK, Connection

PAUSE = 0.5  # seconds after an error


class Bell:
    """A stream of one entry that every commit renews; one blocking read a process waits for it.

    It sets the asyncio.Event of each listener, who clears it, looks, and then waits: no ring is missed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listeners: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None
        self.rings = 0

    @contextmanager
    def listen(self, event: asyncio.Event) -> Iterator[None]:
        """Hear every ring until the end of the block."""
        self._listeners.add(event)
        self._task = self._task or asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._listeners.discard(event)

    def ring(self) -> None:
        """Wake every listener."""
        self.rings += 1
        for event in self._listeners:
            event.set()

    async def close(self) -> None:
        """Stop hearing."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        last: bytes | str = ""
        while not self._connection.ending:
            try:
                if not last:
                    newest = await self._connection.keyed("XREVRANGE", "bell", "+", "-", "COUNT", 1)
                    last = newest[0][0] if newest else "0-0"
                    self.ring()
                found = await self._connection.heard("bell", last, BLOCK)
                if found:
                    last = found
                    self.ring()
            except KubecdcError:  # whoever commits or reads says so
                last = ""  # it may come back older than it was
                await asyncio.sleep(PAUSE)
