"""State that workers share, in the same file as the events."""

from __future__ import annotations

import apsw

from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.sqlite.clock import BusClock
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.sqlite.file.reader import Reader
from kubecdc.storage.sqlite.file.writer import Writer


class SqliteState:
    """`storage.contracts.StateStore`. Expired values are not returned; the leader's retention deletes them."""

    frequent = True

    def __init__(self, writer: Writer, reader: Reader, times: BusClock) -> None:
        self._writer = writer
        self._reader = reader
        self._times = times

    async def get(self, scope: str, key: str) -> StateEntry | None:
        sql = "SELECT value, version FROM state WHERE scope = ? AND key = ? AND expires > ?"
        found = await self._reader.submit(lambda db: row(db, sql, (scope, key, self._times.in_file(db))))
        return StateEntry(*found) if found else None

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        if not await self._writer.submit(lambda db: put(db, scope, key, change, self._times.in_file(db))):
            raise StateConflict.of(scope, key)

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        if not await self._writer.submit(lambda db: delete(db, scope, key, version, self._times.in_file(db))):
            raise StateConflict.of(scope, key)

    async def keys(self, scope: str) -> list[str]:
        sql = "SELECT key FROM state WHERE scope = ? AND expires > ?"
        found = await self._reader.submit(lambda db: rows(db, sql, (scope, self._times.in_file(db))))
        return [str(key) for (key,) in found]


def put(db: apsw.Connection, scope: str, key: str, change: StateChange, now: float) -> bool:
    """Put the value. False if the current version is not the one that the change follows."""
    version = _version(db, scope, key, now)
    if version == change.token:
        return True
    if version != change.follows:
        return False
    db.execute(
        "INSERT OR REPLACE INTO state (scope, key, version, value, expires) VALUES (?, ?, ?, ?, ?)",
        (scope, key, change.token, change.value, now + change.ttl.total_seconds()),
    )
    return True


def delete(db: apsw.Connection, scope: str, key: str, version: str, now: float) -> bool:
    """Delete the value. False if there is one of another version."""
    if _version(db, scope, key, now) not in {version, ""}:
        return False
    db.execute("DELETE FROM state WHERE scope = ? AND key = ?", (scope, key))
    return True


def forget(db: apsw.Connection, now: float, limit: int) -> bool:
    """Delete what has expired. True if there may be more."""
    db.execute("DELETE FROM state WHERE rowid IN (SELECT rowid FROM state WHERE expires <= ? LIMIT ?)", (now, limit))
    return db.changes() == limit


def _version(db: apsw.Connection, scope: str, key: str, now: float) -> str:
    """The current version, "" if there is no value."""
    found = rows(db, "SELECT version FROM state WHERE scope = ? AND key = ? AND expires > ?", (scope, key, now))
    return str(found[0][0]) if found else ""
