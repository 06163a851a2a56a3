"""One attempt of a trigger: its request is prepared, and executed as its retryStrategy says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import structlog

from kubecdc import tracing
from kubecdc.cluster import open_files
from kubecdc.concurrency import INLINE_BYTES
from kubecdc.storage.contracts.event import Event
from kubecdc.workers import retry, traces
from kubecdc.workers.claim import Claim
from kubecdc.workers.computing import compute
from kubecdc.workers.outcome import Failure, Outcome, Retry
from kubecdc.workers.route import Route
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.settings import Settings

log = structlog.get_logger()
PREPARING = 30.0  # seconds for the request of a large event


async def attempt(
    event: Event,
    values: Values,
    route: Route,
    settings: Settings,
    claim: Claim,
    *,
    once: bool = False,
    placed: bool = False,
) -> Outcome:
    """Run the trigger for the event. An error that is nobody's outcome is a failed attempt.

    ``once``: without its retryStrategy. ``placed``: its rate has let it begin.
    """
    span = None if tracing.active is None else traces.Run(tracing.active, claim, route)
    outcome: Outcome | None = None
    try:
        if _is_quick(values, route):
            request = route.request(event, values, attempt=claim.attempt)
        else:
            prepare = partial(route.request, event, values, attempt=claim.attempt)
            request = await prepared(prepare, values, route, settings)
        strategy = None if once else route.retry_strategy
        if strategy is None:
            outcome = await _execute(route, request, again=claim.attempt > 1, placed=placed)
        else:
            tries = count()

            async def run(span: traces.Run | None = span) -> Outcome:
                again = next(tries)
                if again and settings.debug:
                    text = "retryStrategy runs the trigger again"
                    log.debug(text, code="trigger-rerun", tries=again, **log_fields(claim, route))
                done = await _execute(route, request, again=again > 0 or claim.attempt > 1, placed=placed and not again)
                if span:
                    span.tried(done, again + 1)
                return done

            outcome = await retry.execute(run, strategy)
    except ParameterError as e:
        outcome = Failure(str(e))
    except (asyncio.CancelledError, Exception) as e:
        if claim.task.cancelling():
            raise
        log.exception("the trigger failed unexpectedly", code="trigger-raised", **log_fields(claim, route))
        outcome = Retry(f"{type(e).__name__}: {e}")
    finally:
        if span:
            span.ended(outcome)
    if isinstance(outcome, Retry) and open_files.exhausted():
        return Retry(f"this process has no file descriptor left: {outcome.reason}", outcome.after, ours=True)
    return outcome


def log_fields(claim: Claim, route: Route) -> dict[str, object]:
    """The fields of every log line about a delivery."""
    return {"sensor": route.sensor, "trigger": route.name, **claim.facts}


def _is_quick(values: Values, route: Route) -> bool:
    """Whether the request is prepared on the event loop, which no event may hold up, however large."""
    return not route.has_parameters and values.size <= INLINE_BYTES


async def prepared(prepare: Callable[[], Any], values: Values, route: Route, settings: Settings) -> Any:
    """The result of ``prepare``, from a thread if it may take long. Raises ParameterError."""
    if _is_quick(values, route):
        return prepare()
    try:
        return await compute(prepare, values, route, settings, step="parameters", seconds=PREPARING)
    except TimeoutError:
        raise ParameterError(f"applying the parameters takes more than {PREPARING:g} s") from None


async def _execute(route: Route, request: Any, *, again: bool, placed: bool) -> Outcome:
    """Run the trigger once, ``again`` if it ran for the event before, and count and measure that."""
    if again:
        route.metrics.repeated()
    if route.rate and not placed:
        await route.rate.turn()
    begun = time.perf_counter()
    outcome: Outcome | None = None
    try:
        outcome = await route.trigger.execute(request)
        return outcome
    finally:
        route.metrics.executed(outcome, time.perf_counter() - begun)
