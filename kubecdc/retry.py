"""Repeating a call until it succeeds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kubecdc.backoff import Backoff
from kubecdc.errors import KubecdcError, Unavailable

T = TypeVar("T")
Report = Callable[[KubecdcError, int], None]


async def until_done(
    call: Callable[[], Awaitable[T]],
    backoff: Backoff,
    *,
    report: Report,
    retried: type[KubecdcError] | tuple[type[KubecdcError], ...] = Unavailable,
    rng: random.Random | None = None,
) -> T:
    """The result of a call, which is repeated with growing pauses while it raises one of ``retried``.

    ``report`` gets each error and the number of failures so far (1 = the first); an error that it raises ends the
    repetition. Repeating the call must be safe. Any other error is raised.
    """
    failures = 0
    while True:
        try:
            return await call()
        except retried as e:
            failures += 1
            report(e, failures)
            await asyncio.sleep(backoff.delay(failures, rng))
