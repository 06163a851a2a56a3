"""Checkpoints in the same file as the events, so that one transaction makes a step of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from kubecdc.storage.contracts import Checkpoint, CheckpointDelta, EntryState, Gap, Inventoried, State, Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.sqlite.file.reader import Reader
from kubecdc.storage.sqlite.file.writer import Writer

GAPS = 100  # of a checkpoint that are kept, the newest


class SqliteCheckpoints:
    """`storage.contracts.CheckpointStore`."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def acquire(self, key: str, term: Term) -> Checkpoint:
        return await self._writer.submit(lambda db: acquire(db, key, term))

    async def newest_term(self) -> int:
        term: int = await self._reader.submit(newest_term)
        return term

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        await self._writer.submit(lambda db: advance(db, key, delta, term))

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        return await self._writer.submit(lambda db: intend(db, key, delta, term))

    async def entry(self, name: str) -> EntryState | None:
        sql = "SELECT state FROM entries WHERE name = ?"
        found = await self._reader.submit(lambda db: row(db, sql, (name,)))
        return _entry_states.decode(found[0]) if found else None

    async def save_entry(self, name: str, state: EntryState, *, term: Term) -> None:
        await self._writer.submit(lambda db: save_entry(db, name, state, term))

    async def flush(self) -> None:
        """A no-op: what was saved is durable."""

    async def inventory(self, key: str) -> dict[str, Inventoried]:
        sql = "SELECT uid, resource_version, namespace, name, passed, intended FROM inventory WHERE key = ?"
        return await self._reader.submit(
            lambda db: {
                uid: Inventoried(version, namespace, name, bool(passed), bool(intended))
                for uid, version, namespace, name, passed, intended in db.execute(sql, (key,))
            }
        )

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        sql = "SELECT uid, body FROM objects WHERE key = ? AND uid IN (SELECT value FROM json_each(?))"
        wanted = msgspec.json.encode(list(uids)).decode()
        return await self._reader.submit(lambda db: dict(rows(db, sql, (key, wanted))))

    async def checkpoint(self, key: str) -> Checkpoint | None:
        sql = "SELECT key, number, term, state FROM checkpoints WHERE key = ?"
        found = await self._reader.submit(lambda db: row(db, sql, (key,)))
        return _checkpoint(found) if found else None

    async def checkpoints(self) -> list[Checkpoint]:
        sql = "SELECT key, number, term, state FROM checkpoints ORDER BY key"
        return await self._reader.submit(lambda db: [_checkpoint(found) for found in rows(db, sql)])

    async def gaps(self, key: str) -> list[Gap]:
        sql = "SELECT reason, since, until, time, synthetic FROM gaps WHERE key = ? ORDER BY id"
        return await self._reader.submit(lambda db: [Gap(*found) for found in rows(db, sql, (key,))])

    async def reset(self, key: str) -> bool:
        return await self._writer.submit(lambda db: reset(db, key))

    async def remove(self, key: str, *, entry: str, term: Term) -> None:
        await self._writer.submit(lambda db: remove(db, key, entry, term))


def acquire(db: apsw.Connection, key: str, term: Term) -> Checkpoint:
    """Create the row if there is none, and fence older terms from now on. Raises LeadershipLost."""
    db.execute("INSERT OR IGNORE INTO checkpoints (key, number, term, token) VALUES (?, 0, 0, '')", (key,))
    number, state, newest = row(db, f"SELECT number, state, {_NEWEST} FROM checkpoints WHERE key = ?", (key,))
    LeadershipLost.require(newest, term)
    db.execute("UPDATE checkpoints SET term = ? WHERE key = ?", (term.number, key))
    _fence(db, newest, term)
    return _checkpoint((key, number, term.number, state))


def newest_term(db: apsw.Connection) -> int:
    """As `storage.contracts.CheckpointStore.newest_term`."""
    term: int = row(db, "SELECT max(epoch, (SELECT coalesce(max(term), 0) FROM checkpoints)) FROM meta")[0]
    return term


def advance(db: apsw.Connection, key: str, delta: CheckpointDelta, term: Term) -> bool:
    """Make one step. False if it was made before. Raises LeadershipLost, CommitMismatch."""
    if not _is_next(db, key, delta, term):
        return False
    db.execute(
        "INSERT OR REPLACE INTO checkpoints (key, number, term, token, state) VALUES (?, ?, ?, ?, ?)",
        (key, delta.follows + 1, term.number, delta.token, msgspec.json.encode(delta.state)),
    )
    db.executemany(
        "INSERT OR REPLACE INTO inventory (key, uid, resource_version, namespace, name, passed)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(key, uid, *known[:4]) for uid, known in delta.upserts.items()],  # a step clears `intended`
    )
    db.executemany(  # triggers have dropped the older ones
        "INSERT INTO objects (key, uid, body) VALUES (?, ?, ?)",
        [(key, uid, body) for uid, body in delta.bodies.items()],
    )
    db.executemany("DELETE FROM inventory WHERE key = ? AND uid = ?", [(key, uid) for uid in delta.removals])
    if delta.gap:
        gap = delta.gap
        db.execute(
            "INSERT INTO gaps (key, reason, since, until, time, synthetic) VALUES (?, ?, ?, ?, ?, ?)",
            (key, gap.reason, gap.since, gap.until, gap.time, gap.synthetic),
        )
        _trim_gaps(db, key)
    return True


def intend(db: apsw.Connection, key: str, delta: CheckpointDelta, term: Term) -> bool:
    """Record the objects of a step whose events are published elsewhere. Returns and raises as `advance`."""
    if not _is_next(db, key, delta, term):
        return False
    db.executemany(
        "INSERT INTO inventory (key, uid, resource_version, namespace, name, passed, intended)"
        " VALUES (?, ?, ?, ?, ?, ?, 1)"
        " ON CONFLICT (key, uid) DO UPDATE SET passed = max(passed, excluded.passed)",
        [(key, uid, *known[:4]) for uid, known in delta.upserts.items()],
    )
    return True


def save_entry(db: apsw.Connection, name: str, state: EntryState, term: Term) -> None:
    """As `storage.contracts.CheckpointStore.save_entry`. Raises LeadershipLost."""
    newest = row(db, "SELECT epoch FROM meta")[0]
    LeadershipLost.require(newest, term)
    _fence(db, newest, term)
    db.execute("INSERT OR REPLACE INTO entries (name, state) VALUES (?, ?)", (name, msgspec.json.encode(state)))


def reset(db: apsw.Connection, key: str) -> bool:
    """Delete state and inventory. The number grows, so that a leader at work notices. False if there was no state."""
    db.execute(
        "UPDATE checkpoints SET number = number + 1, token = '', state = NULL WHERE key = ? AND state IS NOT NULL",
        (key,),
    )
    found = bool(db.changes())
    db.execute("DELETE FROM inventory WHERE key = ?", (key,))
    return found


def remove(db: apsw.Connection, key: str, entry: str, term: Term) -> None:
    """As `storage.contracts.CheckpointStore.remove`. Raises LeadershipLost."""
    newest = row(db, "SELECT epoch FROM meta")[0]
    LeadershipLost.require(newest, term)
    _fence(db, newest, term)
    db.execute("UPDATE gaps SET key = ?, reason = reason || ' (' || key || ')' WHERE key = ?", (entry, key))
    _trim_gaps(db, entry)
    db.execute("DELETE FROM checkpoints WHERE key = ?", (key,))
    db.execute("DELETE FROM inventory WHERE key = ?", (key,))


def _trim_gaps(db: apsw.Connection, key: str) -> None:
    db.execute(
        "DELETE FROM gaps WHERE key = ?1 AND id <="
        " (SELECT id FROM gaps WHERE key = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (key, GAPS),
    )


def _is_next(db: apsw.Connection, key: str, delta: CheckpointDelta, term: Term) -> bool:
    """Whether the step is the next one; False if it is the last one. Raises LeadershipLost, CommitMismatch."""
    found = row(db, f"SELECT number, token, {_NEWEST} FROM checkpoints WHERE key = ?", (key,))
    number, token, newest = found or (0, "", row(db, "SELECT epoch FROM meta")[0])
    LeadershipLost.require(newest, term)
    _fence(db, newest, term)
    return delta.is_next(key, number, token)


def _fence(db: apsw.Connection, newest: int, term: Term) -> None:
    if term.number > newest:
        db.execute("UPDATE meta SET epoch = ?", (term.number,))


def _checkpoint(found: tuple[Any, ...]) -> Checkpoint:
    key, number, term, state = found
    return Checkpoint(key, number, term, None if state is None else _states.decode(state))


_states = msgspec.json.Decoder(State)
_entry_states = msgspec.json.Decoder(EntryState)
_NEWEST = "max(term, (SELECT epoch FROM meta))"  # a program of an earlier version leaves its term at its keys only
