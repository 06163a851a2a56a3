"""Runs computations on an event's text: at once, or in a thread if they could hold up the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kubecdc.concurrency import INLINE_BYTES, in_thread
from kubecdc.workers.route import Route
from kubecdc.workers.sensor.templates import INLINE, Meter, NeedsThread
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.settings import Settings

T = TypeVar("T")


async def compute(
    function: Callable[[], T],
    values: Values,
    route: Route,
    settings: Settings,
    *,
    step: str,
    seconds: float,
    slow: bool = False,
) -> T:
    """The result of a function that reads ``values``. Raises TimeoutError.

    ``slow``: it may take long for a small event, too.

    The templates for small events begin at once. If they need longer, they begin anew in a thread, and so do those of
    the following events in the same ``step``, until one was quick.
    """
    if values.size <= INLINE_BYTES and not (slow or step in route.in_thread):
        values.limit(Meter(INLINE, inline=True))
        try:
            return function()
        except NeedsThread:
            route.in_thread.add(step)
    meter = Meter()
    values.limit(meter)
    try:
        return await settings.large.call(in_thread, function, seconds=seconds)
    finally:
        (route.in_thread.add if meter.spent > INLINE else route.in_thread.discard)(step)
