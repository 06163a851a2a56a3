"""One read for all who wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedReads(Generic[T]):
    """One read at a time. Who asks while it is under way shares the next one, so that nobody gets what was read before
    the question."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._current: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def latest(self) -> T:
        """What a read that starts from now on returns. Raises as the read."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current))
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """Wait for what is under way."""
        while tasks := [task for task in (self._current, self._next) if task and not task.done()]:
            await asyncio.wait(tasks)

    async def _after(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        self._current, self._next = self._next, None
        return await self._read()
