"""The parts of a process, which run beside each other until it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from kubecdc.cli.ending import Stop
from kubecdc.errors import most_relevant

T = TypeVar("T")


async def run_until_all_end(parts: list[Coroutine[Any, Any, None]], stop: Stop) -> None:
    """Run all parts until each has ended. The first that returns or fails stops the process; the others then shut down.

    Raises the first error.
    """

    async def run_one(part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except Exception as e:
            stop.tell(most_relevant(e))
            raise
        finally:
            stop.tell()

    results = await asyncio.gather(*(run_one(part) for part in parts), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise stop.failure or failures[0]


async def run_until_stop(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """The result of the work. It is cancelled when ``stop`` is set, and the result is None then.

    A commit in progress takes effect or not.
    """
    task = asyncio.ensure_future(work)
    waiter = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return None
