"""What another program does to the SQLite file of a bus, while kubecdc has it open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

PATIENCE = 30_000  # milliseconds to wait for kubecdc's own writes, which may take long on a busy machine


@contextmanager
def other_program(path: Path) -> Iterator[apsw.Connection]:
    """A connection that waits for other writers, and is closed at the end. Raises apsw.Error."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(PATIENCE)
    try:
        yield db
    finally:
        db.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the write lock of the file."""
    with other_program(path) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
