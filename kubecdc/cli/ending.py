"""The end of a process that is told to stop: in order if possible, and in time whatever hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress

import structlog

from kubecdc.cli import logs
from kubecdc.cli.main import INTERRUPTED, told
from kubecdc.errors import KubecdcError

log = structlog.get_logger()
SECONDS = 4.3  # for an orderly end: a process that is told to stop has ended after 5 s, on a busy machine too


class Stop:
    """Tells a process once to stop: at SIGTERM or SIGINT, or because a part of it has ended.

    ``event`` is set then. If the process has not ended `SECONDS` later, a thread ends it, whatever hangs: a server that
    does not answer, a look-up, a disk, the event loop itself. Then ``failure``, why it had to stop, is printed and
    decides the exit code. A second SIGINT (Ctrl-C) ends the process at once.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.failure: BaseException | None = None
        self._interrupted = False
        self._loop = asyncio.get_running_loop()
        self._untold = threading.Lock()  # released by the first `tell`, also in a handler that interrupts anything
        self._untold.acquire()
        threading.Thread(target=self._watch, name="ending", daemon=True).start()

    def listen(self) -> None:
        """Stop at SIGTERM and SIGINT, for as long as the process lives: they count after the event loop's end too."""
        signal.signal(signal.SIGTERM, lambda *_: self.tell())
        signal.signal(signal.SIGINT, lambda *_: self._interrupt())

    def tell(self, failure: BaseException | None = None) -> None:
        """Stop now. Of several failures the first counts."""
        self.failure = self.failure or failure
        with suppress(RuntimeError):  # told before
            self._untold.release()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.event.set)

    def _interrupt(self) -> None:
        if self._interrupted:
            logs.drain()
            os._exit(INTERRUPTED)
        self._interrupted = True
        self.tell()

    def _watch(self) -> None:
        self._untold.acquire()
        if self.failure is None:
            hint = {"hint": "press Ctrl-C again to end at once; work in flight is then repeated"}
            log.info(
                "stopping once all work in flight is settled or returned",
                code="stopping",
                seconds=SECONDS,
                **(hint if self._interrupted else {}),
            )
        time.sleep(SECONDS)
        log.warning(
            "not everything ended in time: what hangs is abandoned, and unfinished work is repeated",
            code="stop-overdue",
        )
        code = 0
        if isinstance(self.failure, KubecdcError):
            code = told(self.failure)
        elif self.failure is not None:
            code = 1
            log.error("failed unexpectedly", code="failed", exc_info=self.failure)
        logs.drain()
        os._exit(code)
