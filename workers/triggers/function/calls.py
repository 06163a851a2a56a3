"""Calls of a handler beside the worker's event loop, which nothing that a handler does can hold up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

from kubecdc.concurrency import begin_in_thread
from kubecdc.workers.outcome import Outcome

CLOSING = 0.5  # seconds that coroutines have to end when the trigger is closed


class Call:
    """A call under way. ``ended`` is done once it has really ended, whoever waits for that."""

    def __init__(self, ended: asyncio.Future[Outcome], cancel: Callable[[], None]) -> None:
        self.ended = ended
        self.cancel = cancel


def in_own_thread(function: Callable[[], Outcome], name: str) -> Call:
    """Call it in a daemon thread of its own, which cannot be cancelled. Raises RuntimeError if there can be none."""
    return Call(begin_in_thread(function, name=name), lambda: None)


class OwnLoop:
    """An event loop in a daemon thread, on which all coroutines of a trigger run."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = False
        self._ended = begin_in_thread(self._run, name=name)

    def call(self, work: Coroutine[object, object, Outcome]) -> Call:
        """Begin a coroutine, which handles every error of its own."""
        waiting = asyncio.get_running_loop()
        ended: asyncio.Future[Outcome] = waiting.create_future()
        tasks: list[asyncio.Task[Outcome]] = []

        def tell(task: asyncio.Task[Outcome]) -> None:
            with suppress(RuntimeError):  # the worker's event loop has ended
                waiting.call_soon_threadsafe(settle, task)

        def settle(task: asyncio.Task[Outcome]) -> None:
            if task.cancelled():
                ended.cancel()
            else:
                ended.set_result(task.result())

        def begin() -> None:
            task = self._loop.create_task(work)
            task.add_done_callback(tell)
            tasks.append(task)

        def cancel() -> None:
            tasks[0].cancel()  # `begin` ran before

        self._loop.call_soon_threadsafe(begin)
        return Call(ended, lambda: self._in_loop(cancel))

    async def close(self) -> None:
        """Cancel what still runs, and end the thread. What does not end soon is left behind."""
        self._closing = True
        self._in_loop(self._loop.stop)
        await asyncio.wait([self._ended], timeout=CLOSING)

    def _in_loop(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._closing:
            with suppress(SystemExit, KeyboardInterrupt):  # of a task that a handler has begun
                self._loop.run_forever()
        rest = asyncio.all_tasks(self._loop)
        for task in rest:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
