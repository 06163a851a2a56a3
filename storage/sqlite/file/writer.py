"""The one connection that writes: what queued up while it was busy goes into one transaction (group commit).

An operation may run twice (when SQLite rolled a whole group back), so all it
does must be undone with the transaction or be the same the second time. Each runs
in a savepoint of its own: one that fails does not spoil the others.
"""

from __future__ import annotations

import queue
from contextlib import suppress
from functools import partial

import apsw

from kubecdc.storage.sqlite.file.thread import ConnectionThread, Submitted

GROUP = 256  # operations a transaction


class Writer(ConnectionThread):
    """Runs operations in order; their futures are done after COMMIT."""

    def _serve(self, db: apsw.Connection) -> None:
        more = True
        while more:
            group, more = self._take()
            if group:
                self._transact(db, group)
                self._call(partial(_resolve, group))
        with suppress(apsw.Error):  # another process reads, or the disk is full: then the log stays, which is fine
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _take(self) -> tuple[list[Submitted], bool]:
        """All that is queued, waiting for the first; False at the end of the queue."""
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
                submitted.error = submitted.error or self._mapped(e)
            with suppress(apsw.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _run(self, db: apsw.Connection, submitted: Submitted) -> None:
        submitted.error = None
        db.execute("SAVEPOINT operation")
        try:
            submitted.result = submitted.operation(db)
        except Exception as e:  # belongs to the caller, whatever it is
            submitted.error = self._mapped(e)
            if db.in_transaction:
                db.execute("ROLLBACK TO operation")
        if db.in_transaction:
            db.execute("RELEASE operation")


def _resolve(group: list[Submitted]) -> None:
    for submitted in group:
        submitted.resolve()
