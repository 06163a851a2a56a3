"""Tells the open subscriptions of this process that something happened in the bus, in whatever process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kubecdc.errors import KubecdcError
from kubecdc.storage.redis.server.connection import BLOCK, Connection, pairs

PAUSE = 0.5  # seconds after an error


class Listener:
    """Clears ``wake``, looks where `heard` says, and then waits for it: no ring is missed."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._everywhere = True
        self._partitions: set[int] = set()

    def heard(self) -> set[int] | None:
        """The partitions where something happened since it was last asked; None: it may be anything, anywhere."""
        found = None if self._everywhere else self._partitions
        self._everywhere, self._partitions = False, set()
        return found

    def hear(self, partitions: set[int] | None) -> None:
        """Something happened there."""
        if partitions is None:
            self._everywhere = True
        else:
            self._partitions |= partitions
        self.wake.set()


class Bell:
    """A short stream with an entry for each commit, and whatever else others should look at.

    One blocking read a process waits for it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._number = 0  # of the last ring; they are counted, so that one that was missed is noticed

    @contextmanager
    def listen(self, listener: Listener) -> Iterator[None]:
        """Hear every ring until the end of the block."""
        self._listeners.add(listener)
        self._task = self._task or asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._listeners.discard(listener)

    def ring(self, partitions: set[int] | None = None) -> None:
        """Wake every listener."""
        for listener in self._listeners:
            listener.hear(partitions)

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
                    last, fields = newest[0] if newest else ("0-0", [])
                    self._number = int(pairs(fields).get(b"number", 0))
                    self.ring()
                for id_, fields in await self._connection.heard("bell", last, BLOCK):
                    last = id_
                    self._rung(fields)
            except KubecdcError:  # whoever commits or reads says so
                last = ""  # it may come back older than it was
                await asyncio.sleep(PAUSE)

    def _rung(self, fields: dict[bytes, bytes]) -> None:
        number, partitions = int(fields.get(b"number", 0)), fields.get(b"partitions")
        known = partitions and number == self._number + 1
        self._number = number
        self.ring({int(partition) for partition in partitions.split()} if partitions and known else None)
