"""The filter step: an event that does not pass the filters of its dependency is settled without a run."""

from __future__ import annotations

import logging
from functools import partial

import structlog

from kubecdc.concurrency import INLINE_BYTES
from kubecdc.storage.contracts import Delivery
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.attempt import log_fields
from kubecdc.workers.claim import Claim
from kubecdc.workers.computing import compute
from kubecdc.workers.route import Route
from kubecdc.workers.scripts.process import ScriptError
from kubecdc.workers.sensor.filters.logic import FilterError, Unjudged, Verdict
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.settings import Settings
from kubecdc.workers.settlement import Ack, DeadLetter, Settlement, persist

log = structlog.get_logger()
FILTERING = 30.0  # seconds for the filters of a large event


async def left_out(
    claim: Claim,
    event: Event,
    values: Values,
    route: Route,
    settings: Settings,
) -> Settlement | None:
    """The settlement of an event that does not pass; None if it does. ``values`` are of the event.

    It is a dead letter if the filters could not be evaluated for a reason that is not in the manifest.

    Raises ClaimLost, Interrupted.
    """
    try:
        async with Counted(claim.delivery, event):
            verdict = await judge(event, values, route, settings)
    except TimeoutError:
        return DeadLetter(f"the filters of the dependency take more than {FILTERING:g} s")
    if verdict.passes:
        return None
    if verdict.is_unjudged:
        return DeadLetter(unjudged(verdict))
    route.metrics.filtered(error=verdict.has_errors)
    if log.is_enabled_for(logging.DEBUG):
        log.debug(
            "the filters of the dependency leave the event out",
            code="delivery-filtered",
            reason=verdict.reason,
            **log_fields(claim, route),
        )
    return Ack()


class Counted:
    """A step before the attempt. If the process ends with a large event in it, that counts as an attempt.

    Such an event may take more memory than the process has. To enter it raises ClaimLost.
    """

    __slots__ = ("_large",)

    def __init__(self, delivery: Delivery, event: Event) -> None:
        self._large = delivery if len(event.data) > INLINE_BYTES else None

    async def __aenter__(self) -> None:
        if self._large:
            await persist(self._large.start)

    async def __aexit__(self, *error: object) -> None:
        if self._large:
            self._large.withdraw()


def unjudged(verdict: Verdict) -> str:
    """The reason of a dead letter if `Verdict.is_unjudged`."""
    return f"the filters of the dependency cannot judge the event: {'; '.join(verdict.errors)}"


async def judge(event: Event, values: Values, route: Route, settings: Settings) -> Verdict:
    """What the filters say of an event, and of its ``values``. Raises TimeoutError, Interrupted."""
    verdict = await _without_script(event, values, route, settings)
    script = route.filters.script
    if script is None or not route.filters.needs_script(verdict):
        return verdict
    error: FilterError | None = None
    passes = False
    try:
        passes = await settings.scripts.run(script, bytes(event.data)) == b"true"
    except ScriptError as e:
        error = Unjudged(str(e)) if e.is_limit else FilterError(str(e))
    return Verdict(passes, verdict.denials if passes else [*verdict.denials, ("filters.script", error)])


async def _without_script(event: Event, values: Values, route: Route, settings: Settings) -> Verdict:
    """No event holds up the event loop, however large. Raises TimeoutError."""
    judge = partial(route.filters.verdict, values)
    slow = route.filters.is_slow
    verdict = await compute(judge, values, route, settings, step="filters", seconds=FILTERING, slow=slow)
    if len(event.data) > INLINE_BYTES:
        values.forget()  # it may have to wait for long, and decoded it is many times as large
    return verdict
