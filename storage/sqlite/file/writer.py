"""The one connection that writes. What was queued while it was busy goes into one transaction (group commit).

An operation may run twice, if SQLite rolled a whole group back: all that it does must be undone with the transaction,
or have the same effect the second time. Each operation runs in a savepoint of its own, so that one that fails does not
affect the others.
"""

from __future__ import annotations

import queue
from contextlib import suppress
from functools import partial

import apsw

from kubecdc.storage.sqlite.file.thread import ConnectionThread, Submitted

GROUP = 256  # operations in one transaction


class Writer(ConnectionThread):
    """Runs operations in order. Their futures are done after COMMIT."""

    def _serve(self, db: apsw.Connection) -> None:
        more = True
        while more:
            group, more = self._take()
            if group:
                self._transact(db, group)
                self._call(partial(_resolve, group))
        with suppress(apsw.Error):  # another process reads, or the disk is full: the log may stay
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _take(self) -> tuple[list[Submitted], bool]:
        """All queued operations, after waiting for the first one. False at the end of the queue."""
        group: list[Submitted] = []
        submitted = self._queue.get()
        while submitted is not None:
            group.append(submitted)
            if len(group) == GROUP:
                return group, True
            try:
                submitted = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _transact(self, db: apsw.Connection, group: list[Submitted]) -> None:
        """Run the group in one transaction and note every outcome."""
        try:
            self._require_in_place()
            db.execute("BEGIN IMMEDIATE")
            for submitted in group:
                self._run(db, submitted)
                if not db.in_transaction:  # after some errors (disk full, I/O) SQLite rolls everything back
                    if len(group) > 1:
                        for alone in group:
                            self._transact(db, [alone])
                    return
            db.execute("COMMIT")
        except Exception as e:  # the transaction did not happen, so none of its operations did
            for submitted in group:
                submitted.error = submitted.error or self._map_error(e)
            with suppress(apsw.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _run(self, db: apsw.Connection, submitted: Submitted) -> None:
        submitted.error = None
        db.execute("SAVEPOINT operation")
        try:
            submitted.result = submitted.operation(db)
        except Exception as e:  # any error belongs to the caller
            submitted.error = self._map_error(e)
            if db.in_transaction:
                db.execute("ROLLBACK TO operation")
        if db.in_transaction:
            db.execute("RELEASE operation")


def _resolve(group: list[Submitted]) -> None:
    for submitted in group:
        submitted.resolve()
