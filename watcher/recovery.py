"""The reaction to a failure of anything that runs within a term: report it, wait, and try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kubecdc.backoff import Backoff
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.watcher.session import Session

T = TypeVar("T")
BACKOFF = Backoff(duration=0.8, factor=2.0, cap=30.0, jitter=0.5)
RETRIED = (Unavailable, Malformed, CommitMismatch)  # they pass by themselves, or once an operator has acted


class Recovery:
    """Counts the failures in a row of one activity, such as a watch. ``name`` appears in its log lines."""

    def __init__(self, session: Session, name: str) -> None:
        self.failures = 0
        self._session = session
        self._name = name

    async def after(self, error: KubecdcError, *, report: bool = True) -> None:
        """Report the error and wait: longer with each failure, and at least as long as the API server asks for."""
        self.failures += 1
        if report:
            self._session.problems.report(self._name, error, code="capture-failing")
        delay = BACKOFF.delay(self.failures)
        if isinstance(error, ApiError):
            delay = max(delay, error.retry_after)
        await asyncio.sleep(delay)

    async def after_routine(self) -> None:
        """Wait after something that is no error. The first time in a row goes on at once."""
        self.failures += 1
        if self.failures > 1:
            await asyncio.sleep(BACKOFF.delay(self.failures - 1))

    def succeeded(self) -> None:
        """The activity works: the next failure is the first in a row."""
        if self.failures:
            self.failures = 0
            self.resolve()

    def resolve(self) -> None:
        """Resolve the reported problem, but go on counting failures."""
        self._session.problems.resolve(self._name)

    async def until_done(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, which is repeated while it raises one of `RETRIED`. Repeating it must be safe."""
        while True:
            try:
                result = await call()
            except RETRIED as e:
                await self.after(e)
            else:
                self.succeeded()
                return result


async def short_pause() -> None:
    """Wait as after a first failure."""
    await asyncio.sleep(BACKOFF.delay(1))
