"""Elects the leader: the process that holds the lock on the file beside the database."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import apsw
import structlog

from kubecdc.cluster.open_files import HINT, exhausted
from kubecdc.errors import Unavailable
from kubecdc.retry import until_done
from kubecdc.storage.contracts import Term, least_term
from kubecdc.storage.outage import RETRY, until_closed
from kubecdc.storage.sqlite.administration.retention import Retention
from kubecdc.storage.sqlite.commits.checkpoints import newest_term
from kubecdc.storage.sqlite.file.writer import Writer
from kubecdc.storage.sqlite.settings import SqliteSettings

log = structlog.get_logger()
POLL = 0.1  # seconds between two attempts; the kernel releases the lock of a process that died


class SqliteElector:
    """`storage.contracts.Elector`. While it leads, it also runs retention."""

    def __init__(self, settings: SqliteSettings, writer: Writer, retention: Retention, holder: str) -> None:
        self._path = settings.lock_path
        self._writer = writer
        self._retention = retention
        self._holder = holder

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        """Wait for the lock. The end of the block releases it."""
        file = await self._until_done(self._open)
        try:
            await self._lock(file)
            term = Term(await self._until_done(lambda: self._writer.submit(next_epoch)), self._holder)
            os.ftruncate(file, 0)
            os.pwrite(file, self._holder.encode(), 0)
            log.info("leading", code="leading", term=term.number, holder=self._holder)
            retention = asyncio.create_task(self._retention.run())
            try:
                yield term
            finally:
                retention.cancel()
                with suppress(asyncio.CancelledError):
                    await retention
        finally:
            os.close(file)

    async def _lock(self, file: int) -> None:
        standing_by = False
        while not _try_lock(file):
            if not standing_by:
                standing_by = True
                log.info(
                    "standing by",
                    code="standing-by",
                    leader=os.pread(file, 1000, 0).decode(errors="replace"),
                    holder=self._holder,
                )
            await asyncio.sleep(POLL)

    async def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:  # it was there, and could be opened, when the bus was
            raise Unavailable(f"cannot open {self._path}: {e.strerror}", hint=HINT if exhausted() else "") from e

    async def _until_done(self, call: Callable[[], Awaitable[int]]) -> int:
        report = until_closed("cannot begin a term", lambda: self._writer.closed, code="term-unbegun")
        return await until_done(call, RETRY, report=report)


def next_epoch(db: apsw.Connection) -> int:
    """A number that is greater than any term before."""
    epoch = max(newest_term(db) + 1, least_term())
    db.execute("UPDATE meta SET epoch = ?", (epoch,))
    return epoch


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
