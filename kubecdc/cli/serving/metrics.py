"""The metrics of the process, for Prometheus."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from email.message import Message

from kubecdc import __version__
from kubecdc.cli.serving.exposition import CONTENT_TYPE, exposition
from kubecdc.cli.serving.server import Answer, Page
from kubecdc.metrics import SAME, Gauge

WAIT_SECONDS = 1.0  # for what is read anew; then what was known last is exported
BUILD = Gauge("kubecdc_build_info", "1, with the versions of kubecdc and of Python", ["version", "python"])
BUS_UP = Gauge("kubecdc_bus_up", "1 if the bus answered this process recently: min", ["bus"], by=SAME)
LIMIT = Gauge(
    "kubecdc_pending_events_limit",
    "`maxPending` of the bus: while a subscription has this many pending events, nothing more is captured for the bus",
    ["bus"],
    by=SAME,
)
BUILD.read(lambda: 1, __version__, platform.python_version())


class Scrapes:
    """Lets the event loop read what is to be exported, before a thread exports it."""

    def __init__(self, wait: float = WAIT_SECONDS) -> None:
        self._wait = wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refreshes: list[Callable[[], Awaitable[None]]] = []
        self._under_way: Future[None] | None = None

    def before(self, refresh: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Call this in the running loop before each scrape. Returns what ends that."""
        self._loop = asyncio.get_running_loop()
        self._refreshes.append(refresh)
        return lambda: self._refreshes.remove(refresh)

    @property
    def pages(self) -> Mapping[str, Page]:
        """The paths of the server."""
        return {"/metrics": self._metrics}

    def _metrics(self, _: Message) -> Answer:
        self._refresh()
        return Answer(200, CONTENT_TYPE, exposition())

    def _refresh(self) -> None:
        """A loop or a bus that hangs is waited for once, not by each scrape."""
        if self._loop is None or not (self._under_way is None or self._under_way.done()):
            return
        refreshing = self._all()
        try:
            self._under_way = asyncio.run_coroutine_threadsafe(refreshing, self._loop)
        except RuntimeError:  # it is closed
            refreshing.close()
            return
        with suppress(Exception):  # what fails is logged where it is read; a timeout is no error
            self._under_way.result(self._wait)

    async def _all(self) -> None:
        await asyncio.gather(*(refresh() for refresh in list(self._refreshes)), return_exceptions=True)
