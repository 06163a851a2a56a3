"""The time of a bus in a file: wall-clock time, which a clock that is set does not change in between.

Times in the file are compared by all processes, also after a restart, so they are those of the wall clock. If that is
set, forward or back, the first process that notices moves the times in the file along, for all: claims and delays last
as long as they should. A machine whose clock is behind until it is synchronized counts as one whose clock was set back:
the first process after the boot moves the times to the wrong clock, and later, as any, to the right one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import apsw

from kubecdc.storage.sqlite.file.connection import row
from kubecdc.storage.sqlite.file.writer import Writer

Clock = Callable[[], float]
SMALLEST = 1.0  # seconds; the clock is corrected in smaller steps all the time
LONGEST = 3600.0  # seconds that anything waits at most after a boot, in case the clock was behind and nothing tells
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MOVED = (
    "UPDATE deliveries SET due = due + ?",
    "UPDATE registrants SET seen = seen + ?",
    "UPDATE workers SET seen = seen + ?",
    "UPDATE state SET expires = expires + ?",
)
NOTED = "SELECT boot, clock FROM meta"
# The latest time that has passed, by the file: of the boot before, of a sign of life, of an event that nobody delayed.
PASSED = (
    "SELECT max(time) FROM (SELECT clock AS time FROM meta UNION ALL SELECT max(seen) FROM registrants"
    " UNION ALL SELECT max(seen) FROM workers UNION ALL SELECT max(due) FROM deliveries WHERE received = 0)"
)


class BusClock:
    """``monotonic`` is None for a wall clock that is never set, as in tests."""

    def __init__(self, wall: Clock = time.time, monotonic: Clock | None = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic() if monotonic else 0.0
        self._lock = asyncio.Lock()
        self._boot = _boot_id()

    def now(self) -> float:
        """Wall-clock time, as it was before a clock that was set and not noticed yet.

        What is written is asked for where it is written, in the writer's thread: then it fits the file.
        """
        return self._monotonic() + self._offset if self._monotonic else self._wall()

    def in_file(self, db: apsw.Connection) -> float:
        """`now` by the times in the file, which another process may have moved. In the thread of the connection."""
        if self._monotonic is None:
            return self._wall()
        boot, offset = row(db, NOTED)
        return self._monotonic() + (offset if boot == self._boot else self._offset)

    def elapsed(self) -> float:
        """Seconds that only grow, from any beginning."""
        return self._monotonic() if self._monotonic else self._wall()

    async def follow(self, writer: Writer) -> None:
        """Move the times in the file along if the clock was set. To be called before times are compared or written."""
        if self._monotonic is None:
            return
        if abs(self._step()) < SMALLEST:
            self._offset += self._step()
            return
        async with self._lock:
            if abs(step := self._step()) < SMALLEST:
                return  # another task was faster
            before, offset = self._offset, self._offset + step

            def operation(db: apsw.Connection) -> None:
                move(db, self._boot, offset, step)
                self._offset = offset  # for what is written next

            try:
                await writer.submit(operation)
            except BaseException:
                self._offset = before
                raise

    async def begin(self, writer: Writer) -> None:
        """Note the offset of the clock in the file. If it was set while no process ran, the times are moved too."""
        if self._monotonic is not None:
            await writer.submit(lambda db: begin(db, self._boot, self._offset, self.now()))

    def _step(self) -> float:
        assert self._monotonic
        return self._wall() - self._monotonic() - self._offset


def begin(db: apsw.Connection, boot: str, offset: float, now: float) -> None:
    """Move the times if the clock was set since they were written, or if it is behind them after a boot."""
    known, before = row(db, NOTED)
    if known == boot:
        move(db, boot, offset, offset - before)
        return
    behind = row(db, PASSED)[0] - now
    if behind >= SMALLEST:
        _shift(db, -behind)
    db.execute("UPDATE deliveries SET due = ?1 WHERE due > ?1", (now + LONGEST,))
    _note(db, boot, offset)


def move(db: apsw.Connection, boot: str, offset: float, step: float) -> None:
    """Move the times by ``step``, unless another process has done it.

    The offset between wall clock and monotonic clock is the same for all processes of a machine, until it boots.
    """
    known, before = row(db, NOTED)
    if known != boot:
        _note(db, boot, offset)
    elif abs(offset - before) >= SMALLEST:
        _shift(db, step)
        _note(db, boot, offset)


def _shift(db: apsw.Connection, step: float) -> None:
    for sql in MOVED:
        db.execute(sql, (step,))


def _note(db: apsw.Connection, boot: str, offset: float) -> None:
    db.execute("UPDATE meta SET boot = ?, clock = ?", (boot, offset))


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:  # not Linux: each process notes its own
        return uuid4().hex
