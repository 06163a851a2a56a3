"""Keeps a bus tidy, where its leader is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from kubecdc.errors import KubecdcError

log = structlog.get_logger()
PAUSE = 10.0  # seconds between two sweeps


async def sweep_for_ever(sweep: Callable[[], Awaitable[None]], *, wanted: asyncio.Event | None = None) -> None:
    """Sweep now and then, and as soon as it is ``wanted``. What cannot be done now is said and tried again."""
    wanted = wanted or asyncio.Event()
    while True:
        wanted.clear()
        try:
            await sweep()
        except KubecdcError as e:
            log.warning("cannot forget old events", error=str(e), hint=e.hint)
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await wanted.wait()
