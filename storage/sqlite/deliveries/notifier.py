"""Tells the open subscriptions of this process that something may have become due."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Bell:
    """Sets the asyncio.Event of each listener, who clears it, looks, and then waits: no ring is missed."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()

    @contextmanager
    def listen(self, event: asyncio.Event) -> Iterator[None]:
        """Hear every ring until the end of the block."""
        self._listeners.add(event)
        try:
            yield
        finally:
            self._listeners.discard(event)

    def ring(self) -> None:
        """Wake every listener."""
        for event in self._listeners:
            event.set()
