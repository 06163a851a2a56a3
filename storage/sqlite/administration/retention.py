"""Forgets events that nobody is owed any more, and keeps the file from growing for ever."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from kubecdc.storage.periodic import sweep_for_ever
from kubecdc.storage.sqlite.administration import registrations
from kubecdc.storage.sqlite.deliveries import state
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.sqlite.file.writer import Writer
from kubecdc.storage.sqlite.settings import SqliteSettings

STEP = 500  # rows a transaction, so that commits and claims get their turn
SPARE_PAGES = 2048  # free pages that stay in the file for what comes next


class Retention:
    """Runs where the leader is; `sweep` may be called by anybody."""

    def __init__(self, settings: SqliteSettings, writer: Writer, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._writer = writer
        self._clock = clock

    async def run(self) -> None:
        """Sweep now and then, for ever."""
        await sweep_for_ever(self.sweep)

    async def sweep(self) -> None:
        """Everything that may go now: what is left of pruned subscriptions, events by age and by size, state whose time
        is over, free pages."""
        while await self._writer.submit(lambda db: registrations.drop_backlog(db, STEP)):
            pass
        while await self._writer.submit(lambda db: state.forget(db, self._clock(), STEP)):
            pass
        while await self._writer.submit(self._forget):
            pass
        while await self._writer.submit(shrink):
            pass

    def _forget(self, db: apsw.Connection) -> bool:
        return forget(
            db,
            before=self._clock() - self._settings.retention.total_seconds(),
            keep_bytes=self._settings.retention_bytes,
        )


def forget(db: apsw.Connection, *, before: float, keep_bytes: int) -> bool:
    """Delete settled events, the oldest first, that were committed before a time or exceed the size."""
    excess = row(db, "SELECT settled_bytes FROM meta")[0] - keep_bytes
    found = rows(
        db,
        "SELECT seq, committed, bytes FROM events INDEXED BY events_settled WHERE owed = 0 ORDER BY committed LIMIT ?",
        (STEP,),
    )
    old: list[tuple[int]] = []
    for seq, committed, size in found:
        if committed >= before and excess <= 0:
            break
        old.append((seq,))
        excess -= size
    db.executemany("DELETE FROM events WHERE seq = ?", old)
    return len(old) == STEP


def shrink(db: apsw.Connection) -> bool:
    """Give free pages back to the file system, but for some and a fifth of the file: those are used again soon."""
    free, pages = db.pragma("freelist_count"), db.pragma("page_count")
    excess = free - max(SPARE_PAGES, pages // 5)
    if excess <= 0:
        return False
    rows(db, f"PRAGMA incremental_vacuum({min(excess, SPARE_PAGES)})")
    return True
