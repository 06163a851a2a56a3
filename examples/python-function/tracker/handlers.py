"""Handlers for kubecdc: functions that are called for each event."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from kubecdc.function import Context, Discard, Event, Retry

PHASE = "workflows.argoproj.io/phase"
TABLE = """CREATE TABLE IF NOT EXISTS runs
    (uid TEXT PRIMARY KEY, namespace TEXT, name TEXT, phase TEXT, version TEXT, deleted INTEGER)"""
# A repetition, or an event that an operator has had delivered again, must not put an older state over a newer one.
SAVE = """INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE
    SET phase = excluded.phase, version = excluded.version, deleted = excluded.deleted
    WHERE excluded.version >= version"""


def save(event: Event, context: Context, database: str) -> None:
    """Keep the state of the Workflow. It is called in a thread, so it may block."""
    metadata = event.body["metadata"]
    phase = metadata.get("labels", {}).get(PHASE, "Pending")
    row = (metadata["uid"], event.namespace, event.name, phase, event.sequence, event.action == "DELETE")
    try:
        with closing(sqlite3.connect(database, timeout=context.remaining)) as db, db:
            db.execute(TABLE)
            db.execute(SAVE, row)
    except sqlite3.OperationalError as e:
        raise Retry(5, str(e)) from e
    context.logger.info("saved", name=event.name, phase=phase)


async def check(event: Event, context: Context, team: str = "") -> None:
    """Refuse Workflows of nobody: they become dead letters, which an operator sees."""
    if not team:
        raise Discard(f"{event.namespace}/{event.name} has no label `team`")
