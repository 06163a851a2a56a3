"""A thread that owns one connection and runs the operations that the event loop submits, in order."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import apsw

from kubecdc.errors import Unavailable
from kubecdc.storage.sqlite.file.connection import Patience, connect
from kubecdc.storage.sqlite.file.errors import Damaged, map_error
from kubecdc.storage.sqlite.file.schema import prepare
from kubecdc.storage.sqlite.settings import SqliteSettings

T = TypeVar("T")
CLOSING_SECONDS = 0.2  # that all queued operations together wait for other processes: a process that stops must stop
Operation = Callable[[apsw.Connection], T]


@dataclass
class Submitted:
    """An operation in the queue, and its outcome once it has run."""

    operation: Operation[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def resolve(self) -> None:
        """Give the outcome to the caller, if it still waits."""
        if self.future.done():
            return
        if self.error:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@dataclass
class Condition:
    """What the connections of this process know of the file. Once it is damaged, they do nothing more."""

    damage: Damaged | None = None


class ConnectionThread(ABC):
    """Opened, used and closed from one event loop. None in the queue ends the thread."""

    def __init__(self, settings: SqliteSettings, rng: random.Random, condition: Condition) -> None:
        self._settings = settings
        self._patience = Patience(rng)
        self._condition = condition
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Submitted | None] = queue.SimpleQueue()
        self._finished = asyncio.Event()
        self._closed = False
        self._file = (0, 0)  # device and inode of the path when it was opened

    async def open(self) -> None:
        """Start the thread. Raises UsageError, Refused or Unavailable if the file cannot be used."""
        opening = Submitted(lambda db: None, self._loop.create_future())
        threading.Thread(target=self._main, args=(opening,), name=f"kubecdc-{type(self).__name__}", daemon=True).start()
        await opening.future

    def submit(self, operation: Operation[T]) -> asyncio.Future[T]:
        """Queue the operation now; await the future for its result. Cancelling the future does not stop it.

        The future raises what the operation raised, or Unavailable, Refused.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(Unavailable("the bus is closed"))
        elif self._condition.damage:
            future.set_exception(self._condition.damage)
        else:
            self._queue.put(Submitted(operation, future))
        return future

    def post(self, operation: Operation[Any]) -> None:
        """Queue the operation and ignore its outcome."""
        self.submit(operation).add_done_callback(lambda done: done.cancelled() or done.exception())

    @property
    def closed(self) -> bool:
        """It accepts no more operations."""
        return self._closed

    def require_sound(self) -> None:
        """Raise Refused if the file was found to be damaged."""
        if self._condition.damage:
            raise self._condition.damage

    async def close(self) -> None:
        """Run what is queued, then close the connection. What another process locks is given up soon."""
        if not self._closed:
            self._closed = True
            self._patience.end(CLOSING_SECONDS)
            self._queue.put(None)
        await self._finished.wait()

    @abstractmethod
    def _serve(self, db: apsw.Connection) -> None:
        """Run the queue to its end. Called in the thread."""

    def _main(self, opening: Submitted) -> None:
        try:
            db = connect(self._settings, self._patience)
            try:
                prepare(db, self._settings.path)
            except BaseException:
                db.close()
                raise
        except Exception as e:  # any error belongs to the caller of open()
            opening.error = self._map_error(e)
            self._call(opening.resolve)
            self._call(self._finished.set)
            return
        self._file = self._identity()
        self._call(opening.resolve)
        try:
            self._serve(db)
        finally:
            db.close()
            self._call(self._finished.set)

    def _require_in_place(self) -> None:
        """Raise Damaged if the path names another file now: what is written here would be lost with this process."""
        if self._identity() != self._file:
            raise Damaged(
                f"{self._settings.path} was removed or replaced while it was in use",
                hint="stop every kubecdc process, and put the file back before they start again",
            )

    def _identity(self) -> tuple[int, int]:
        try:
            found = self._settings.path.stat()
        except OSError:
            return (0, 0)
        return (found.st_dev, found.st_ino)

    def _map_error(self, error: Exception) -> Exception:
        better = map_error(error, self._settings.path)
        if better is not error:
            better.__cause__ = error
        if isinstance(better, Damaged):
            self._condition.damage = better
        return better

    def _call(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the event loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(function)
