"""Trouble that lasts, said once: one line when it begins or its reason changes, one when it is over."""

from __future__ import annotations

import structlog

from storage.errors import KubecdcError

log = structlog.get_logger()


class Notices:
    """What is wrong at the moment, by who suffers from it."""

    def __init__(self) -> None:
        self._active: dict[str, str] = {}
        self._remarks: set[str] = set()

    def trouble(self, who: str, error: KubecdcError) -> None:
        """Say it, unless the same is already known (of anybody: one cluster that is away is one line)."""
        text = str(error)
        if text not in self._active.values():
            log.warning(text, watch=who, fix=error.hint)
        self._active[who] = text

    def over(self, who: str) -> None:
        """The trouble is over; nothing is said if there was none."""
        text = self._active.pop(who, None)
        if text is not None and text not in self._active.values():
            log.info("recovered", watch=who, was=text)

    def remark(self, text: str, **facts: object) -> None:
        """Say a thing once in the life of the process."""
        if text not in self._remarks:
            self._remarks.add(text)
            log.warning(text, **facts)
