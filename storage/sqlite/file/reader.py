"""The connection that reads. It never waits for a writer, and it notices commits of other processes."""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import apsw

from kubecdc.storage.sqlite.file.thread import Condition, ConnectionThread, Submitted
from kubecdc.storage.sqlite.settings import SqliteSettings

POLL = 0.01  # seconds between two checks whether any process has committed
LOOK = 1.0  # seconds after which it looks even if none has: no commit tells of a set clock, nor of what becomes due


class Reader(ConnectionThread):
    """Runs operations one by one, each in a snapshot.

    After `watch`, whenever any process has committed, and each second, it looks with ``look`` for what is of interest,
    and calls ``changed`` in the event loop with that: one look for all who wait. None means that all have to know.
    """

    def __init__(
        self,
        settings: SqliteSettings,
        rng: random.Random,
        condition: Condition,
        look: Callable[[apsw.Connection], Sequence[str]],
        changed: Callable[[Sequence[str] | None], None],
    ) -> None:
        super().__init__(settings, rng, condition)
        self._look = look
        self._changed = changed
        self._poll: float | None = None
        self._next_look = 0.0

    def watch(self) -> None:
        """Check for commits from now on."""
        self._poll = POLL
        self.post(lambda db: None)  # ends a wait without time limit

    def _serve(self, db: apsw.Connection) -> None:
        seen = 0
        while True:
            try:
                submitted = self._queue.get(timeout=self._poll)
            except queue.Empty:
                pass
            else:
                if submitted is None:
                    return
                self._run(db, submitted)
                self._call(submitted.resolve)
            if self._poll:
                seen = self._check(db, seen)

    def _check(self, db: apsw.Connection, seen: int) -> int:
        try:
            version: int = db.pragma("data_version")
            now = time.monotonic()
            if version == seen and now < self._next_look:
                return seen
            self._next_look = now + LOOK
            if self._condition.damage:
                self._call(partial(self._changed, None))
            elif found := self._look(db):
                self._call(partial(self._changed, found))
        except apsw.Error:  # busy: check the next time
            return seen
        return version

    def _run(self, db: apsw.Connection, submitted: Submitted) -> None:
        try:
            db.execute("BEGIN")
            submitted.result = submitted.operation(db)
        except Exception as e:  # any error belongs to the caller
            submitted.error = self._map_error(e)
        finally:
            with suppress(apsw.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")  # nothing was written
