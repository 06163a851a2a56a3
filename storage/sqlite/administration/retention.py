"""Deletes events that every subscription has settled, by age and size, and keeps the file from growing without end."""

from __future__ import annotations

import apsw

from kubecdc.storage.periodic import run_periodically
from kubecdc.storage.sqlite.administration import registrations
from kubecdc.storage.sqlite.clock import BusClock
from kubecdc.storage.sqlite.deliveries import state
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.sqlite.file.writer import Writer
from kubecdc.storage.sqlite.settings import SqliteSettings

STEP = 500  # rows in one transaction, so that commits and claims get their turn
SPARE_PAGES = 2048  # free pages that stay in the file for new events


class Retention:
    """Runs where the leader is. `enforce` may be called by any process."""

    def __init__(self, settings: SqliteSettings, writer: Writer, times: BusClock) -> None:
        self._settings = settings
        self._writer = writer
        self._times = times

    async def run(self) -> None:
        """Enforce periodically. Never returns."""
        await run_periodically(self.enforce)

    async def enforce(self) -> None:
        """Delete all that may be deleted now: backlogs of pruned subscriptions, expired state, events by age and by
        size. Then give back free pages.
        """
        while await self._writer.submit(lambda db: registrations.drop_backlog(db, STEP)):
            pass
        while await self._writer.submit(lambda db: state.forget(db, self._times.in_file(db), STEP)):
            pass
        while await self._writer.submit(self._forget):
            pass
        while await self._writer.submit(shrink):
            pass

    def _forget(self, db: apsw.Connection) -> bool:
        return forget(
            db,
            before=self._times.now() - self._settings.retention.total_seconds(),
            keep_bytes=self._settings.retention_bytes,
        )


def forget(db: apsw.Connection, *, before: float, keep_bytes: int) -> bool:
    """Delete settled events, oldest first, that were committed before a time or exceed the size.

    True if there may be more.
    """
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
    """Give free pages back to the file system, except for some and a fifth of the file, which are soon used again.

    True if there may be more.
    """
    free, pages = db.pragma("freelist_count"), db.pragma("page_count")
    excess = free - max(SPARE_PAGES, pages // 5)
    if excess <= 0:
        return False
    rows(db, f"PRAGMA incremental_vacuum({min(excess, SPARE_PAGES)})")
    return True
