"""Lines on standard output. A reader that stops reading delays nothing else in the process."""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

DEADLINE = 10.0  # seconds for a line and all that wait before it
TOGETHER = 256  # lines in one write of the thread, at most


@dataclass(eq=False, slots=True)
class _Line:
    rest: bytes  # not yet written
    begun: bool
    written: asyncio.Future[None]


class Lines:
    """Writes directly what cannot block, and the rest from a thread.

    It does not use `sys.stdout`: a blocked thread would hold its lock when the process ends.
    """

    def __init__(self, write: Callable[[bytes], int] | None = None) -> None:
        self._write = write or (lambda text: os.write(_stdout(), text))
        self._at_once = write is None
        self._waiting: deque[_Line] = deque()
        self._writing = False  # the thread is
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._known: tuple[int, int] | None = None  # a descriptor, and the kind of its file
        self._nowait: int = getattr(os, "RWF_NOWAIT", 0)  # the flag of a write that must not block; 0 if there is none

    async def write(self, line: bytes) -> None:
        """Write a line, which may be empty, after those before it. On return it has left this process.

        Raises OSError, and TimeoutError after `DEADLINE` seconds; then it is not written later, unless it was begun.
        """
        rest = line
        if self._at_once and not (self._writing or self._waiting):
            rest = self._write_at_once(line)
        if not rest:
            return
        loop = asyncio.get_running_loop()
        waiting = _Line(rest, len(rest) < len(line), loop.create_future())
        self._queue(waiting)
        late = loop.call_later(DEADLINE, _give_up, waiting)
        try:
            await waiting.written
        except BaseException:
            with self._changed, suppress(ValueError):  # the thread has taken it
                if not waiting.begun:
                    self._waiting.remove(waiting)
            raise
        finally:
            late.cancel()

    def _write_at_once(self, text: bytes) -> bytes:
        """Write as much as does not block, and return the rest. Raises OSError."""
        fd = _stdout()
        if self._known is None or self._known[0] != fd:
            self._known = fd, _kind(fd)
        kind = self._known[1]
        if kind == stat.S_IFSOCK:
            return text
        if kind != stat.S_IFIFO:  # a file, or /dev/null: no reader
            return text[os.write(fd, text) :]
        return self._write_to_pipe(fd, text)

    def _write_to_pipe(self, fd: int, text: bytes) -> bytes:
        if self._nowait:
            try:
                return text[os.pwritev(fd, (text,), -1, self._nowait) :]
            except BlockingIOError:
                return text
            except OSError:
                self._nowait = 0  # Linux before 6.4, or a sandbox without the call; a real error comes back below
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        while text and poll.poll(0):
            text = text[os.write(fd, text[: select.PIPE_BUF]) :]  # a pipe that is ready takes this much
        return text

    def _queue(self, line: _Line) -> None:
        if self._thread is None:
            # A daemon: the process can end although nobody reads.
            self._thread = threading.Thread(target=self._work, name="lines", daemon=True)
            self._thread.start()
        with self._changed:
            self._waiting.append(line)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.wait_for(lambda: self._waiting)
                self._writing = True
                lines = self._take()
            text = b"".join(line.rest for line in lines)
            error: OSError | None = None
            try:
                while text:
                    text = text[self._write(text) :]
            except OSError as e:
                error = e
            with suppress(RuntimeError):  # the event loop has ended, with those who waited
                lines[0].written.get_loop().call_soon_threadsafe(_tell, lines, error)

    def _take(self) -> list[_Line]:
        """The waiting lines. One by one, each would wait for the interpreter's lock, which a busy loop holds."""
        loop = self._waiting[0].written.get_loop()
        lines: list[_Line] = []
        while self._waiting and len(lines) < TOGETHER and self._waiting[0].written.get_loop() is loop:
            lines.append(self._waiting.popleft())
        return lines


def _stdout() -> int:
    return sys.stdout.fileno() if sys.stdout is not None else 1  # None if it was closed: writing fails


def _kind(fd: int) -> int:
    """What reads a descriptor: S_IFIFO, S_IFSOCK, also for a terminal, or what has no reader. Raises OSError."""
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    return stat.S_IFSOCK if kind == stat.S_IFCHR and os.isatty(fd) else kind


def _give_up(line: _Line) -> None:
    if not line.written.done():
        line.written.set_exception(TimeoutError())


def _tell(lines: Sequence[_Line], error: OSError | None) -> None:
    for line in lines:
        if line.written.done():  # cancelled
            continue
        if error:
            line.written.set_exception(error)
        else:
            line.written.set_result(None)


STDOUT = Lines()
