"""Opening the file: every connection is opened here."""

from __future__ import annotations

import math
import os
import random
import time
from typing import Any
from urllib.parse import quote

import apsw

from kubecdc.cluster.open_files import HINT, exhausted
from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.storage.sqlite.file.network_mounts import require_local
from kubecdc.storage.sqlite.settings import SqliteSettings

BUSY_DEADLINE = 5.0  # seconds that a statement waits for other processes before it raises Unavailable
CHECKPOINT_PAGES = 1000  # size of the write-ahead log at which it is copied into the file
LOG_BYTES = 64 * 1024 * 1024  # a larger write-ahead log is truncated to this
WAL_RESET_BUG = (3, 51, 3)  # fixed in; https://sqlite.org/wal.html#walresetbug


class Patience:
    """How long statements wait for other processes: each for `BUSY_DEADLINE`, and none after `end`.

    The waits are short and of random length: those of SQLite grow to 100 ms, which can starve a process.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._deadline = 0.0
        self._end = math.inf

    def end(self, seconds: float) -> None:
        """Wait for so long yet, all statements together. May be called in any thread."""
        self._end = time.monotonic() + seconds

    def wait(self, failures: int) -> bool:
        """SQLite's busy handler: wait a little, and return whether to try again."""
        if failures == 0:
            self._deadline = time.monotonic() + BUSY_DEADLINE
        time.sleep(self._rng.uniform(0.0005, 0.004))
        return time.monotonic() < min(self._deadline, self._end)


def connect(settings: SqliteSettings, patience: Patience) -> apsw.Connection:
    """Open the file; create it with mode 0600 if there is none. Raises UsageError, Refused, apsw.Error."""
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < WAL_RESET_BUG:
        raise Refused(
            f"SQLite {version} can corrupt a file that several processes share",
            hint="install apsw from PyPI: its wheels carry a current SQLite",
        )
    require_local(settings.path)
    try:
        # Never open the database itself here: closing that file would drop the locks that SQLite holds on it.
        os.close(os.open(settings.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as e:
        if exhausted():
            raise Unavailable(f"cannot open {settings.path}: no file descriptor is left", hint=HINT) from e
        raise UsageError(
            f"cannot open {settings.path}: {e.strerror} ({settings.lock_path})",
            hint="its folder must exist and be writable",
        ) from e
    db = apsw.Connection(
        f"file:{quote(str(settings.path))}?modeof={quote(str(settings.lock_path))}",
        flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI,
    )
    db.set_busy_handler(patience.wait)
    if db.readonly("main"):
        db.close()
        raise UsageError(f"{settings.path} is read-only", hint="give this user the right to write it")
    db.pragma("synchronous", "full")
    db.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
    db.pragma("journal_size_limit", LOG_BYTES)
    return db


def rows(db: apsw.Connection, sql: str, bindings: tuple[Any, ...] | dict[str, Any] = ()) -> list[Any]:
    """Run a statement to its end, which RETURNING needs too, and return its rows as tuples."""
    return db.execute(sql, bindings).fetchall()


def row(db: apsw.Connection, sql: str, bindings: tuple[Any, ...] = ()) -> Any:
    """The first row as a tuple, or None."""
    found = rows(db, sql, bindings)
    return found[0] if found else None
