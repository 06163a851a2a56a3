"""Running several coroutines at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")


class Limit:
    """Runs calls of one kind, at most ``most`` at a time; the others wait."""

    def __init__(self, most: int = 16) -> None:
        self._semaphore = asyncio.Semaphore(most)

    async def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of one call."""
        async with self._semaphore:
            return await function(*args, **kwargs)

    async def map(self, function: Callable[[U], Awaitable[T]], items: Iterable[U]) -> list[T]:
        """The results of a call for each item, in the order of the items.

        The first error is raised once all other calls have been cancelled and have ended.
        """
        tasks = [asyncio.create_task(self.call(function, item)) for item in items]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)


async def run_until_first(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends. The others are cancelled and have ended on return. Raises what the first raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(tasks)
    for task in done:
        task.result()


async def _cancel(tasks: list[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
