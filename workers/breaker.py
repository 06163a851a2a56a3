"""A breaker for each trigger: while it fails for all objects, one event at a time tries whether it works again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType

import structlog

from kubecdc.backoff import Backoff
from kubecdc.workers.outcome import Outcome, Retry, Success

log = structlog.get_logger()
FAILURES = 5  # in a row, of different objects: fewer may be those of a few poisonous events


class Overdue(Exception):
    """The event has waited for its turn for as long as it may."""


class Breaker:
    """Opens after `FAILURES` in a row over different objects, and closes with the first success.

    While it is open, events wait for their `turn` in the order of their arrival: one at a time is a probe. ``backoff``
    has the seconds before the first, second, ... probe. A permanent failure is about its event: it neither opens nor
    closes. ``now`` is the clock of the event loop, ``names`` are the fields of the log lines.
    """

    def __init__(
        self,
        backoff: Backoff,
        *,
        names: Mapping[str, str],
        now: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._backoff = backoff
        self._names = names
        self._now = now
        self._rng = rng
        self._failing: set[str] = set()  # objects, since the last success
        self._probe = asyncio.Lock()  # first come, first served
        self._closed = asyncio.Event()
        self._closed.set()
        self.reason = ""  # of the last failure
        self._opened = 0.0
        self._due = 0.0  # when the next probe may begin
        self._probes = 0
        self._waited = 0

    @property
    def open(self) -> bool:
        """The trigger fails for all objects."""
        return not self._closed.is_set()

    def turn(self, most: float | None = None) -> Turn:
        """To be entered before an attempt, and left after it: ``async with breaker.turn() as is_probe``.

        To enter it raises Overdue after ``most`` seconds.
        """
        return Turn(self, most)

    def ended(self, key: str, outcome: Outcome, *, probe: bool) -> None:
        """An attempt for an event of that partitionkey has ended."""
        match outcome:
            case Success():
                self._failing.clear()
                if self.open:
                    self._close()
            case Retry(reason, after):
                self.reason = reason
                if not self.open:
                    self._failing.add(key)
                    if len(self._failing) == FAILURES:
                        self._open(after)
                elif probe:  # others were under way when it opened
                    self._probes += 1
                    self._wait(after)

    def _open(self, after: float | None) -> None:
        self._closed.clear()
        self._opened, self._probes, self._waited = self._now(), 0, 0
        self._wait(after)
        text = "the trigger fails for all objects; one event at a time tries it"
        log.warning(text, code="breaker-opened", reason=self.reason, **self._names)

    def _close(self) -> None:
        self._closed.set()
        numbers = {"seconds": round(self._now() - self._opened, 1), "probes": self._probes, "waited": self._waited}
        log.info("the trigger works again", code="breaker-closed", **self._names, **numbers)

    def _wait(self, after: float | None) -> None:
        """Put off the next probe. What the peer asks for counts, up to the cap of the backoff."""
        delay = self._backoff.delay(self._probes + 1, self._rng)
        self._due = self._now() + max(delay, min(after or 0.0, self._backoff.cap))

    async def enter(self) -> bool:
        """Wait for a turn. True: it is a probe, and `leave` has to be called after it."""
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


class Turn:
    """The turn of one event. It costs next to nothing while the breaker is closed."""

    __slots__ = ("_breaker", "_is_probe", "_most")

    def __init__(self, breaker: Breaker, most: float | None) -> None:
        self._breaker = breaker
        self._most = most
        self._is_probe = False

    async def __aenter__(self) -> bool:
        if self._breaker.open:
            try:
                async with asyncio.timeout(self._most):
                    self._is_probe = await self._breaker.enter()
            except TimeoutError:
                raise Overdue from None
        return self._is_probe

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_probe:
            self._breaker.leave()
