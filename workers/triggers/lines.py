"""Standard output, a line at a time, from a thread: a reader that stops reading must stop nothing but the lines."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

DEADLINE = 10.0  # seconds for a line, and those before it


def write(line: str) -> None:
    """Write a line to standard output; it has left this process on return.

    Past `sys.stdout`, whose lock a blocked thread would hold when the process ends.
    """
    left = f"{line}\n".encode()
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


class Lines:
    """A thread that makes one call after the other."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[None], Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[[], None]) -> None:
        """Make the call in its turn. TimeoutError after `DEADLINE`: it is not made any more, unless it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="lines", daemon=True)  # the end waits for no reader
            self._thread.start()
        turn = Future[None](), call
        with self._changed:
            self._waiting.append(turn)
            self._changed.notify()
        try:
            async with asyncio.timeout(DEADLINE):
                await asyncio.wrap_future(turn[0])
        except BaseException:
            with self._changed, suppress(ValueError):  # it has had its turn
                self._waiting.remove(turn)
            raise

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                future, call = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                call()
            except BaseException as e:
                future.set_exception(e)
            else:
                future.set_result(None)


STDOUT = Lines()
