"""Trouble that lasts, said once: one line when it begins or its reason changes, one when it is over.

Over is what has not come back for a moment: a bus that is full has room for one commit, again and again.
"""

from __future__ import annotations

import asyncio

import structlog

from kubecdc.errors import KubecdcError

log = structlog.get_logger()
CALM = 1.0  # seconds


class Notices:
    """What is wrong at the moment, by who suffers from it. Used from within one event loop."""

    def __init__(self) -> None:
        self._active: dict[str, str] = {}
        self._ending: dict[str, asyncio.TimerHandle] = {}
        self._remarks: set[str] = set()

    def trouble(self, who: str, error: KubecdcError) -> None:
        """Say it, unless the same is already known (of anybody: one cluster that is away is one line)."""
        if ending := self._ending.pop(who, None):
            ending.cancel()
        text = str(error)
        if text not in self._active.values():
            log.warning(text, watch=who, fix=error.hint)
        self._active[who] = text

    def over(self, who: str) -> None:
        """The trouble is over, if it does not come back at once; nothing is said if there was none."""
        if who in self._active and who not in self._ending:
            self._ending[who] = asyncio.get_running_loop().call_later(CALM, self._end, who)

    def _end(self, who: str) -> None:
        del self._ending[who]
        text = self._active.pop(who)
        if text not in self._active.values():
            log.info("recovered", watch=who, was=text)

    def remark(self, text: str, **facts: object) -> None:
        """Say a thing once in the life of the process."""
        if text not in self._remarks:
            self._remarks.add(text)
            log.warning(text, **facts)
