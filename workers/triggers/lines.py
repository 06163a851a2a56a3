"""Standard output, from a thread: a reader that stops reading must stop nothing but the lines."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

DEADLINE = 10.0  # seconds for a line, and those before it
TOGETHER = 256  # lines a call at most
Write = Callable[[Sequence[Mapping[str, object]]], None]


def write(text: bytes) -> None:
    """Write to standard output; it has left this process on return.

    Past `sys.stdout`, whose lock a blocked thread would hold when the process ends.
    """
    while text:
        text = text[os.write(sys.stdout.fileno(), text) :]


@dataclass(eq=False, slots=True)
class _Line:
    write: Write
    record: Mapping[str, object]
    written: asyncio.Future[None]


class Lines:
    """A thread that writes what has gathered while it wrote.

    Line by line it would wait for the interpreter's lock after each, which a busy event loop holds for milliseconds.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Line] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    async def write(self, write: Write, record: Mapping[str, object]) -> None:
        """Have the record written in its turn, with its neighbours. Raises what `write` raises for one of them.

        TimeoutError after `DEADLINE`: it is not written any more, unless that has begun.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="lines", daemon=True)  # the end waits for no reader
            self._thread.start()
        line = _Line(write, record, asyncio.get_running_loop().create_future())
        with self._changed:
            self._waiting.append(line)
            if len(self._waiting) == 1:
                self._changed.notify()
        try:
            async with asyncio.timeout(DEADLINE):
                await line.written
        except BaseException:
            with self._changed, suppress(ValueError):  # it has had its turn
                self._waiting.remove(line)
            raise

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                lines = self._take()
            error: Exception | None = None
            try:
                lines[0].write([line.record for line in lines])
            except Exception as e:
                error = e
            with suppress(RuntimeError):  # the event loop is gone, and whoever waited with it
                lines[0].written.get_loop().call_soon_threadsafe(_tell, lines, error)

    def _take(self) -> list[_Line]:
        """The next lines that go the same way."""
        lines = [self._waiting.popleft()]
        write, loop = lines[0].write, lines[0].written.get_loop()
        while self._waiting and len(lines) < TOGETHER:
            line = self._waiting[0]
            if line.write != write or line.written.get_loop() is not loop:
                break
            lines.append(self._waiting.popleft())
        return lines


def _tell(lines: Sequence[_Line], error: Exception | None) -> None:
    for line in lines:
        if line.written.done():  # cancelled
            continue
        if error:
            line.written.set_exception(error)
        else:
            line.written.set_result(None)


STDOUT = Lines()
