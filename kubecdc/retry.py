"""Retry a call until it succeeds."""

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
    """Return the result of ``call``. Retry it with increasing delays while it raises one of ``retried``.

    ``report`` is called with each error and the number of failures so far (1 = the first). If ``report`` raises an
    error, the retries stop. Repeating the call must be safe. Any other error of the call is raised.
    """
    failures = 0
    while True:
        try:
            return await call()
        except retried as e:
            failures += 1
            report(e, failures)
            await asyncio.sleep(backoff.delay(failures, rng))
