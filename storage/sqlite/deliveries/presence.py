"""Heartbeats: which subscriptions this process works on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import apsw

from kubecdc.storage.sqlite.clock import BusClock
from kubecdc.storage.sqlite.file.writer import Writer

HEARTBEAT = 10.0  # seconds between two heartbeats


class Presence:
    """Writes a row for each open subscription, every HEARTBEAT seconds, and deletes it at the end."""

    def __init__(self, writer: Writer, holder: str, times: BusClock) -> None:
        self._writer = writer
        self._holder = holder
        self._times = times
        self._open: Counter[str] = Counter()
        self._heartbeats: asyncio.Task[None] | None = None

    @contextmanager
    def at(self, subscription: str) -> Iterator[None]:
        """Send heartbeats for the subscription during the block."""
        self._open[subscription] += 1
        self._write([subscription])
        self._heartbeats = self._heartbeats or asyncio.create_task(self._heartbeat())
        try:
            yield
        finally:
            self._open[subscription] -= 1
            if not self._open[subscription]:
                del self._open[subscription]
                self._erase(subscription)

    async def close(self) -> None:
        """Delete the rows of subscriptions that are still open."""
        if self._heartbeats:
            self._heartbeats.cancel()
            with suppress(asyncio.CancelledError):
                await self._heartbeats
        for subscription in self._open:
            self._erase(subscription)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            self._write(list(self._open))

    def _write(self, subscriptions: Sequence[str]) -> None:
        def operation(db: apsw.Connection) -> None:
            now = self._times.in_file(db)
            values = [(subscription, self._holder, now) for subscription in subscriptions]
            db.executemany("INSERT OR REPLACE INTO workers (subscription, holder, seen) VALUES (?, ?, ?)", values)
            # Rows of processes that were killed.
            db.execute("DELETE FROM workers WHERE seen < ?", (now - 10 * HEARTBEAT,))

        self._writer.post(operation)

    def _erase(self, subscription: str) -> None:
        values = (subscription, self._holder)
        self._writer.post(lambda db: db.execute("DELETE FROM workers WHERE subscription = ? AND holder = ?", values))
