"""How many bytes of objects the watcher holds at a time: pages of lists, and changes whose commit is not done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BYTES = 32 << 20  # of the process; each takes about seven times its size until it is committed
LEAST_BYTES = 256 << 10  # of an entry


class Memory:
    """The bytes that one entry may hold, in all of its namespaces together.

    Each entry has a limit of its own, so that one whose commits are blocked holds up no other. Who finds no room waits
    for its turn. What is larger than the limit is held alone.
    """

    def __init__(self, limit: int = BYTES) -> None:
        self.limit = limit
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def holder(self) -> Iterator[Holder]:
        """Who takes memory during the block. What it has not released by the end is released then."""
        holder = Holder(self)
        try:
            yield holder
        finally:
            holder.reserved(0)
            holder.release(holder.held)

    async def take(self, size: int) -> None:
        """Wait until there is room for so many bytes."""
        if not self._waiting and self._fits(size):
            self.held += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)
            else:
                with suppress(ValueError):
                    self._waiting.remove((size, turn))
                self._wake()  # what waits behind may be smaller
            raise

    def release(self, size: int) -> None:
        """So many bytes are free again."""
        self.held -= size
        self._wake()

    def _fits(self, size: int) -> bool:
        return not self.held or self.held + size <= self.limit

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.held += size
                turn.set_result(None)


class Holder:
    """A user of an entry's memory."""

    def __init__(self, memory: Memory) -> None:
        self.held = 0
        self._reserved = 0  # of these
        self._memory = memory

    async def take(self, size: int) -> None:
        """Wait until there is room for so many bytes more, unless they are reserved."""
        self._reserved -= (known := min(size, self._reserved))
        if size > known:
            await self._memory.take(size - known)
        self.held += size - known

    async def reserve(self, size: int) -> None:
        """Wait until there is room for so many bytes, which are taken later."""
        await self._memory.take(size)
        self.held += size
        self._reserved += size

    def reserved(self, size: int) -> None:
        """What is reserved turned out to be so many bytes. Others wait if that is above the limit."""
        self.release(self._reserved - size)
        self._reserved = size

    def release(self, size: int) -> None:
        """So many bytes are free again."""
        self.held -= size
        self._memory.release(size)

    def resize(self, size: int) -> None:
        """It turned out to be so many bytes. Others wait if that is above the limit."""
        self._memory.release(self.held - size)
        self.held = size
