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
    clock: Callable[[], float] = time.time,
    rng: random.Random | None = None,
) -> SqliteBus:
    """Open the bus in the file, making it if it is not there. ``holder`` names this process, for people.

    Raises UsageError if the file cannot be opened, Refused if it is no bus, a newer one or damaged, Unavailable if
    other processes keep it locked.
    """
    from kubecdc.storage.sqlite.bus import SqliteBus  # the library is imported when a bus is opened, not before

    bus = SqliteBus(settings, holder=holder, clock=clock, rng=rng or random.Random())  # spreads waits, no secret
    await bus.open()
    return bus
