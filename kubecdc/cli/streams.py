"""Standard error of a process that runs for long: nobody reads it, or its reader has gone."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from kubecdc.metrics import Counter

HELD_BYTES = 1 << 20  # of lines that wait for a reader
DROPPED = Counter(
    "kubecdc_log_lines_dropped", "Log lines dropped, because nobody read them or they could not be written"
).at()


class Unread(io.TextIOBase):
    """A stream on which `write` neither waits nor fails, whatever becomes of the reader.

    A thread writes. What it cannot write is dropped and counted; so is what comes while `HELD_BYTES` wait already.
    ``notice`` is a line that tells how many lines were dropped; it is written as soon as one can be.
    """

    encoding = "utf-8"

    def __init__(self, fd: int, notice: Callable[[int], str]) -> None:
        self._fd = fd
        self._notice = notice
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._held = 0  # bytes of these
        self._writing = False  # the thread is
        self._dropped = 0  # lines that no notice has told of
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Give the text to the thread, or drop it."""
        data = text.encode(errors="backslashreplace")
        with self._changed:
            if self._held + len(data) > HELD_BYTES:
                self._drop(data)
                return len(text)
            self._waiting.append(data)
            self._held += len(data)
            if self._thread is None:  # a daemon: the process can end although nobody reads
                self._thread = threading.Thread(target=self._work, name="stderr", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    def drain(self, seconds: float) -> None:
        """Wait until all is written or dropped, but not for longer."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._writing), seconds)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        with suppress(OSError):
            return os.isatty(self._fd)
        return False

    def _work(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                data, self._waiting, self._held, self._writing = b"".join(self._waiting), [], 0, True
            rest = self._put(data)
            with self._changed:
                self._drop(rest)
                untold = 0 if rest or self._waiting else self._dropped
                self._dropped -= untold
            if untold and self._put(self._notice(untold).encode()):
                with self._changed:
                    self._dropped += untold

    def _put(self, data: bytes) -> bytes:
        """Write, for as long as that takes. Returns what cannot be written."""
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:  # no reader is left, or the disk is full
            return data
        return b""

    def _drop(self, data: bytes) -> None:
        lines = data.count(b"\n")
        self._dropped += lines
        DROPPED.value += lines
