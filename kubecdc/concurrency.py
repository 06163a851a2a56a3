"""Run several coroutines concurrently, and long computations beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
INLINE_BYTES = 64 * 1024  # of JSON; work on more than that is done in a thread, which costs 0.1 ms


class Limit:
    """Runs at most ``most`` calls at a time. Further calls wait."""

    def __init__(self, most: int = 16) -> None:
        self._semaphore = asyncio.Semaphore(most)

    async def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for a free slot, then return the result of the call."""
        async with self._semaphore:
            return await function(*args, **kwargs)

    async def map(self, function: Callable[[U], Awaitable[T]], items: Iterable[U]) -> list[T]:
        """Call ``function`` for each item, and return the results in the order of the items.

        If a call fails, the others are cancelled. The first error is raised after all of them have ended.
        """
        tasks = [asyncio.create_task(self.call(function, item)) for item in items]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)


async def run_until_first(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all coroutines until the first ends, then cancel the others and wait for them.

    Raises the error of the first, if it failed.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(tasks)
    for task in done:
        task.result()


class Background:
    """Tasks that outlive their callers."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin the work, and keep it until it has ended."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for all work, also for what begins meanwhile. Raises the first error."""
        while running := set(self._tasks):
            await asyncio.gather(*running)
            self._tasks -= running  # from Python 3.12 on, gather does not wait for the callbacks of what has ended


async def in_thread(function: Callable[[], T], *, seconds: float) -> T:
    """The result of a function that computes for long, from a thread of its own. The event loop goes on meanwhile.

    The thread cannot be cancelled, but it does not keep the process from ending. Raises TimeoutError after ``seconds``.
    """
    result = begin_in_thread(function, name="computing")
    async with asyncio.timeout(seconds):
        return await result


def begin_in_thread(function: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """The future result of a function, from a daemon thread of its own, in the context of this task.

    Raises RuntimeError if there can be no more.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def end(value: T | None, error: BaseException | None) -> None:
        if result.done():  # nobody waits any more
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(cast(T, value))

    def work() -> None:
        value: T | None = None
        error: BaseException | None = None
        try:
            value = function()
        except BaseException as e:
            error = e
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(end, value, error)

    threading.Thread(target=copy_context().run, args=(work,), name=name, daemon=True).start()
    return result


async def _cancel(tasks: list[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
