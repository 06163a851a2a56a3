"""SIGHUP: read the manifests again, or stop because the terminal has gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

TERMINALS = (0, 1, 2)


def listen(reload: Callable[[], None], stop: Callable[[], None]) -> None:
    """From now on, SIGHUP calls ``reload`` in the running event loop.

    It calls ``stop`` if this process had a terminal and has none any more: then the signal says just that.
    """
    loop = asyncio.get_running_loop()
    terminals = [fd for fd in TERMINALS if os.isatty(fd)]

    def hang_up(*_: object) -> None:
        if terminals and not any(os.isatty(fd) for fd in terminals):
            stop()
            return
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(reload)

    signal.signal(signal.SIGHUP, hang_up)
