"""Wakes the open subscriptions of this process when something may have become due."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Notifier:
    """Sets the asyncio.Event of each listener. One that clears it, checks, and then waits misses no notification."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()

    @contextmanager
    def listen(self, event: asyncio.Event) -> Iterator[None]:
        """Set the event at each notification until the end of the block."""
        self._listeners.add(event)
        try:
            yield
        finally:
            self._listeners.discard(event)

    def notify(self) -> None:
        """Wake every listener."""
        for event in self._listeners:
            event.set()
