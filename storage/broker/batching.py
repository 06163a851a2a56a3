"""Gathers calls for single messages into calls for many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf

from kubecdc.storage.broker.contract import Received, Results

LINGER = 0.005  # seconds in which a call may gather messages; a call of a broker takes longer
PARALLEL = 4  # calls at a time


class Batched:
    """Calls ``call`` for up to ``most`` messages at a time. Messages that come while calls are under way wait.

    ``there_are`` tells how many messages there are. Once all of them are here, a call does not wait for others.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Received]], Awaitable[Results]],
        most: int,
        there_are: Callable[[], float] = lambda: inf,
    ) -> None:
        self._call = call
        self._most = most
        self._there_are = there_are
        self._here = 0
        self._waiting: deque[tuple[Received, asyncio.Future[None]]] = deque()
        self._full = asyncio.Event()
        self._running = 0  # tasks that will look again for messages; a task that has ended is known as such only later
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, message: Received) -> None:
        """Return once the message's call is done. Raises the message's own error, or that of the call."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, done))
        self._here += 1
        if self._is_full():
            self._full.set()
        if self._running < PARALLEL:
            self._running += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await done
        finally:
            self._here -= 1

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._most or self._here >= self._there_are()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._send()
        finally:
            self._running -= 1

    async def _send(self) -> None:
        if not self._is_full():
            self._full.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._full.wait()
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        if not batch:
            return
        try:
            results: Sequence[Exception | None] = await self._call([message for message, _ in batch])
        except Exception as e:  # also a bug: its callers hear of it, and the rest is sent
            results = [e] * len(batch)
        except BaseException:
            for _, done in batch:
                done.cancel()
            raise
        for (_, done), error in zip(batch, results, strict=True):
            if done.done():  # its caller was cancelled
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
