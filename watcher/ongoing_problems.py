"""Problems that last: one log line when a problem begins or its reason changes, and one when it is resolved.

A problem counts as resolved once it has stayed away for a moment. A full bus, for example, accepts a commit now and
then: that is one problem, not many.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from kubecdc.errors import KubecdcError
from kubecdc.facts import Trouble

log = structlog.get_logger()
REMEMBERED = 1000  # warnings that were logged once
CALM = 1.0  # seconds without the problem until it is resolved


class OngoingProblems:
    """The problems of one process, by the watch (or other activity) that has them. Not thread-safe.

    ``wall`` has the seconds since 1970.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._active: dict[str, Trouble] = {}
        self._ending: dict[str, asyncio.TimerHandle] = {}
        self._reported_once: set[str] = set()

    def report(self, who: str, error: KubecdcError, *, code: str) -> None:
        """Log the error, unless the same one is already active.

        An error that several watches share, such as a cluster that cannot be reached, is logged once.
        """
        if ending := self._ending.pop(who, None):
            ending.cancel()
        found, known = Trouble.of(error, self._wall()), self._active.get(who)
        if not self._has(found.reason):
            log.warning(str(error), code=code, watch=who, hint=error.hint)
        if known is None or known.reason != found.reason:
            self._active[who] = found

    def resolve(self, who: str) -> None:
        """Log a recovery if the problem does not come back within `CALM` seconds. No problem, no log line."""
        if who in self._active and who not in self._ending:
            self._ending[who] = asyncio.get_running_loop().call_later(CALM, self._end, who)

    def forget(self, who: str) -> None:
        """It has ended, and its problem with it: if another has the same one, it is logged again."""
        self._active.pop(who, None)
        if ending := self._ending.pop(who, None):
            ending.cancel()

    def active(self) -> Mapping[str, Trouble]:
        """Those that last, since when each has the reason that it has."""
        return self._active

    def _has(self, reason: str) -> bool:
        return any(trouble.reason == reason for trouble in self._active.values())

    def _end(self, who: str) -> None:
        del self._ending[who]
        reason = self._active.pop(who).reason
        if not self._has(reason):
            log.info("recovered", code="recovered", watch=who, was=reason)

    def report_once(self, text: str, *, code: str, **facts: object) -> None:
        """Log a warning, the first time only. After a thousand different ones, all count as new."""
        if text not in self._reported_once:
            if len(self._reported_once) == REMEMBERED:
                self._reported_once.clear()
            self._reported_once.add(text)
            log.warning(text, code=code, **facts)
