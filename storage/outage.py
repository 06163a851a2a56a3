"""Logging of errors that repeat: once when they begin, once when they are over."""

from __future__ import annotations

import random
from collections.abc import Callable

import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import KubecdcError
from kubecdc.retry import Report

log = structlog.get_logger()
RETRY = Backoff(duration=0.1, cap=5.0)


class Outage:
    """The errors in a row of something that is retried. ``code`` and ``fields`` are logged with them."""

    def __init__(self, text: str, rng: random.Random, *, code: str = "outage", **fields: str) -> None:
        self._text = text
        self._rng = rng
        self._code = code
        self._fields = fields
        self._failures = 0

    def failed(self, error: KubecdcError) -> float:
        """Log the first error. Returns the seconds to wait before the next attempt."""
        self._failures += 1
        if self._failures == 1:
            log.warning(self._text, code=self._code, **self._fields, error=str(error), hint=error.hint)
        return RETRY.delay(self._failures, self._rng)

    def over(self) -> None:
        """It succeeded. Logged if it had failed before."""
        if self._failures:
            log.info("recovered", code="recovered", was=self._text, **self._fields)
        self._failures = 0


def until_closed(text: str, closed: Callable[[], bool], *, code: str = "outage") -> Report:
    """For `until_done`: log the first error, and raise it once the bus is closed, which ends the retries."""

    def report(error: KubecdcError, failures: int) -> None:
        if closed():
            raise error
        if failures == 1:
            log.warning(text, code=code, error=str(error), hint=error.hint)

    return report
