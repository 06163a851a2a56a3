"""A breaker for each trigger: while it fails for all objects, one event at a time tries whether it works again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

from kubecdc.backoff import Backoff
from kubecdc.facts import MOST, Trouble
from kubecdc.reasons import one_line
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success

log = structlog.get_logger()
FAILURES = 5  # in a row, of different objects: fewer may be those of a few poisonous events


class Overdue(Exception):
    """The event has waited for its turn for as long as it may."""


class Breaker:
    """Opens after `FAILURES` in a row over different objects, and closes with the first success.

    While it is open, events wait for their `turn` in the order of their arrival: one at a time is a probe. ``backoff``
    has the seconds before the first, second, ... probe. ``opened`` is told why it opens. A permanent failure is about
    its event: it neither opens nor closes. ``now`` is the clock of the event loop, ``names`` are the fields of the log
    lines.
    """

    def __init__(
        self,
        backoff: Backoff,
        *,
        names: Mapping[str, str],
        opened: Callable[[str], None] | None = None,
        now: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._backoff = backoff
        self._names = names
        self._tell_opened = opened
        self._now = now
        self._rng = rng
        self._failing: set[str] = set()  # objects, since the last success
        self._probe = asyncio.Lock()  # first come, first served
        self.open = False  # whether the trigger fails for all objects
        self._closed = asyncio.Event()  # set unless it is open
        self._closed.set()
        self.reason = ""  # of the last failure
        self._failed_since: float | None = None  # Unix time of the first failure since the last success
        self._last_failure = ""
        self._opened = 0.0
        self._due = 0.0  # when the next probe may begin
        self._probes = 0
        self._waited = 0

    @property
    def failed(self) -> Trouble | None:
        """Why the last attempt has failed, since the first that has; None if it has succeeded."""
        since = self._failed_since
        return None if since is None else Trouble(one_line(self._last_failure, MOST), since)

    @property
    def trouble(self) -> Trouble | None:
        """Why it is open, and since when."""
        if not self.open:
            return None
        return Trouble(one_line(self.reason, MOST), time.time() - (self._now() - self._opened))

    async def turn(self, most: float | None = None) -> bool:
        """Wait for a turn before an attempt, while it is `open`. Raises Overdue after ``most`` seconds.

        True: the attempt is a probe, and `leave` must be called after it.
        """
        try:
            async with asyncio.timeout(most):
                return await self._turn()
        except TimeoutError:
            raise Overdue from None

    def ended(self, key: str, outcome: Outcome, *, probe: bool) -> None:
        """An attempt for an event of that partitionkey has ended."""
        match outcome:
            case Success():
                if self._failed_since is not None:
                    self._failing.clear()
                    self._failed_since = None
                if self.open:
                    self._close()
            case Failure(reason):
                self._fails(reason)
            case Retry(reason, after):
                self._fails(reason)
                self.reason = reason
                if not self.open:
                    self._failing.add(key)
                    if len(self._failing) == FAILURES:
                        self._open(after)
                elif probe:  # others were under way when it opened
                    self._probes += 1
                    self._wait(after)

    def _fails(self, reason: str) -> None:
        self._last_failure = reason
        if self._failed_since is None:
            self._failed_since = time.time()

    def _open(self, after: float | None) -> None:
        self.open = True
        self._closed.clear()
        self._opened, self._probes, self._waited = self._now(), 0, 0
        self._wait(after)
        text = "the trigger fails for all objects; only one event at a time is tried"
        log.warning(text, code="breaker-opened", reason=self.reason, **self._names)
        if self._tell_opened:
            self._tell_opened(self.reason)

    def _close(self) -> None:
        self.open = False
        self._closed.set()
        numbers = {"seconds": round(self._now() - self._opened, 1), "probes": self._probes, "waited": self._waited}
        log.info("the trigger works again", code="breaker-closed", **self._names, **numbers)

    def _wait(self, after: float | None) -> None:
        """Put off the next probe. What the peer asks for counts, up to the cap of the backoff."""
        delay = self._backoff.delay(self._probes + 1, self._rng)
        self._due = self._now() + max(delay, min(after or 0.0, self._backoff.cap))

    async def _turn(self) -> bool:
        self._waited += 1
        await self._probe.acquire()
        try:
            while self.open and (left := self._due - self._now()) > 0:
                await self._pause(left)
        except BaseException:
            self._probe.release()
            raise
        if self.open:
            return True
        self._probe.release()
        return False

    def leave(self) -> None:
        """A probe has ended."""
        self._probe.release()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until a success of an attempt from before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
