"""A web application for as long as a block."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


@asynccontextmanager
async def served(app: web.Application, tls: ssl.SSLContext | None = None, **runner: Any) -> AsyncIterator[str]:
    """The URL of the application, which listens on 127.0.0.1. ``runner`` are options of `web.AppRunner`."""
    running = web.AppRunner(app, **runner)
    await running.setup()
    try:
        await web.TCPSite(running, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{running.addresses[0][1]}"
    finally:
        await running.cleanup()
