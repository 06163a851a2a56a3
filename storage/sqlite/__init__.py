"""The event bus in one SQLite file: the default, without any server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubecdc.storage.sqlite.settings import SqliteSettings

if TYPE_CHECKING:
    from kubecdc.storage.sqlite.bus import SqliteBus

__all__ = ["SqliteSettings", "open_bus"]


async def open_bus(
    settings: SqliteSettings,
    *,
    holder: str,
    clock: Callable[[], float] | None = None,
    monotonic: Callable[[], float] | None = None,
    rng: random.Random | None = None,
) -> SqliteBus:
    """Open the bus in the file, making it if it is not there. ``holder`` names this process, for people.

    ``clock`` is a wall clock that is never set, or that is set, and then ``monotonic`` tells; the system's by default.
    Raises UsageError if the file cannot be opened, Refused if it is no bus, a newer one or damaged, Unavailable if
    other processes keep it locked.
    """
    from kubecdc.storage.sqlite.bus import SqliteBus  # the library is imported when a bus is opened, not before
    from kubecdc.storage.sqlite.clock import BusClock

    times = BusClock(clock, monotonic) if clock else BusClock(time.time, time.monotonic)
    bus = SqliteBus(settings, holder=holder, times=times, rng=rng or random.Random())  # spreads waits, no secret
    await bus.open()
    return bus
