"""Runs the retention of a bus periodically, where its leader is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from kubecdc.errors import KubecdcError

log = structlog.get_logger()
PAUSE = 10.0  # seconds between two runs


async def run_periodically(enforce: Callable[[], Awaitable[None]], *, requested: asyncio.Event | None = None) -> None:
    """Enforce retention every `PAUSE` seconds, and at once when it is ``requested``. Never returns.

    An error is logged, and retention is enforced again after the pause.
    """
    requested = requested or asyncio.Event()
    while True:
        requested.clear()
        try:
            await enforce()
        except KubecdcError as e:
            log.warning("cannot delete old events", code="housekeeping-failing", error=str(e), hint=e.hint)
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await requested.wait()
