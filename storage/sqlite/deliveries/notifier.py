"""Wakes the open subscriptions of this process when something may have become due."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterator
from contextlib import contextmanager


class Notifier:
    """Sets the asyncio.Event of each listener. One that clears it, checks, and then waits misses no notification."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, str] = {}

    @contextmanager
    def listen(self, subscription: str, event: asyncio.Event) -> Iterator[None]:
        """Set the event at each notification of the subscription until the end of the block."""
        self._listeners[event] = subscription
        try:
            yield
        finally:
            del self._listeners[event]

    def notify(self, subscriptions: Container[str] | None = None) -> None:
        """Wake the listeners of these subscriptions, or every listener."""
        for event, subscription in self._listeners.items():
            if subscriptions is None or subscription in subscriptions:
                event.set()
