"""Wakes the open subscriptions of this process when any process has changed something in the bus."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress

from kubecdc.errors import KubecdcError
from kubecdc.storage.redis_server.connection import BLOCK, Connection, pairs

PAUSE = 0.5  # seconds after an error


class Listener:
    """Misses no notification if it clears ``wake``, then reads what `changed` returns, and then waits for ``wake``.

    ``subscription`` is the number of the one that it listens for, 0 while that is not known.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.renumbered: Callable[[], None] = lambda: None
        self._subscription = 0
        self._all = True
        self._partitions: set[int] = set()

    @property
    def subscription(self) -> int:
        return self._subscription

    @subscription.setter
    def subscription(self, number: int) -> None:
        if number != self._subscription:
            self._subscription = number
            self.renumbered()

    def changed(self) -> set[int] | None:
        """The partitions with a change since the last call; None if any of them may have one."""
        found = None if self._all else self._partitions
        self._all, self._partitions = False, set()
        return found

    def notify(self, partitions: set[int] | None) -> None:
        """Something has changed in these partitions, or in any."""
        if partitions is None:
            self._all = True
        else:
            self._partitions |= partitions
        self.wake.set()


class Notifier:
    """Waits for entries of a short stream, ``bell``: there is one for each commit and for other changes.

    A process has one blocking read for all of its listeners.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listeners: set[Listener] = set()
        self._numbered: dict[int, list[Listener]] | None = None  # by their subscriptions; None if that has changed
        self._task: asyncio.Task[None] | None = None
        self._number = 0  # of the last notification: a gap in the numbers shows that some were missed

    @contextmanager
    def listen(self, listener: Listener) -> Iterator[None]:
        """Notify the listener until the end of the block."""
        self._listeners.add(listener)
        listener.renumbered = self._renumbered
        self._renumbered()
        self._task = self._task or asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._listeners.discard(listener)
            self._renumbered()

    def notify(self, partitions: set[int] | None = None, subscriptions: Set[int] | None = None) -> None:
        """Wake the listeners of these subscriptions, or every listener of this process. Looks at no other."""
        if subscriptions is None:
            for listener in self._listeners:
                listener.notify(partitions)
            return
        if self._numbered is None:
            self._numbered = defaultdict(list)
            for listener in self._listeners:
                self._numbered[listener.subscription].append(listener)
        for number in subscriptions | {0}:
            for listener in self._numbered.get(number, ()):
                listener.notify(partitions)

    def _renumbered(self) -> None:
        self._numbered = None

    async def close(self) -> None:
        """Stop waiting for entries."""
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
                    self.notify()
                for id_, fields in await self._connection.read_stream("bell", last, BLOCK):
                    last = id_
                    self._received(fields)
            except KubecdcError:  # the next commit or read reports it
                last = ""  # the bus may come back older than it was
                await asyncio.sleep(PAUSE)

    def _received(self, fields: dict[bytes, bytes]) -> None:
        number = int(fields.get(b"number", 0))
        missed, self._number = number != self._number + 1, number
        if missed:
            self.notify()
        else:
            self.notify(_numbers(fields.get(b"partitions")), _numbers(fields.get(b"for")))


def _numbers(found: bytes | None) -> set[int] | None:
    """The numbers in a field of a notification; None for any."""
    return set(map(int, found.split())) if found else None
