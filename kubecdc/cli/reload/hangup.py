"""SIGHUP: read the manifests again, or stop because the terminal has gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

TERMINALS = (0, 1, 2)


class Hangup:
    """Until `listen`, the signal is kept; a process with a terminal ends by it, as ever."""

    def __init__(self) -> None:
        self._kept = False
        self._terminals = [fd for fd in TERMINALS if os.isatty(fd)]
        if not self._terminals:
            signal.signal(signal.SIGHUP, self._keep)

    def listen(self, reload: Callable[[], None], stop: Callable[[], None]) -> None:
        """From now on, SIGHUP calls ``reload`` in the running event loop; at once if it has come before.

        It calls ``stop`` if this process had a terminal and has none any more: then the signal says just that.
        """
        loop = asyncio.get_running_loop()

        def hang_up(*_: object) -> None:
            if self._terminals and not any(os.isatty(fd) for fd in self._terminals):
                stop()
                return
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(reload)

        signal.signal(signal.SIGHUP, hang_up)
        if self._kept:
            hang_up()

    def _keep(self, *_: object) -> None:
        self._kept = True
