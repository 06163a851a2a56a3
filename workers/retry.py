"""Argo's retryStrategy: several tries of a trigger within one delivery, whose claim is extended meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import cast

import tenacity

from kubecdc.workers.outcome import Outcome, Retry
from kubecdc.workers.sensor.retry_strategy import RetryStrategy

LONGEST_WAIT = 30.0  # seconds; if a peer asks for more, the delivery is returned and does not count as in flight
_DAY = 86_400.0  # seconds; with a large factor, the pause would soon be longer than a timer can count

Sleep = Callable[[float], Awaitable[None]]


def pause(strategy: RetryStrategy, tries: int, rng: random.Random) -> float:
    """Seconds after that many failed tries: ``duration * factor**(tries-1)``, and up to ``jitter`` times that more.

    As Argo Events has it from k8s.io/apimachinery (wait.Backoff).
    """
    try:
        base = min(strategy.duration.total_seconds() * strategy.factor ** (tries - 1), _DAY)
    except OverflowError:
        base = _DAY
    return base + rng.random() * strategy.jitter * base


async def execute(
    run: Callable[[], Awaitable[Outcome]],
    strategy: RetryStrategy,
    *,
    rng: random.Random | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Outcome:
    """Run until the outcome is not a Retry, the steps are used up, or the peer asks for more than `LONGEST_WAIT`.

    Returns the last outcome. An exception of ``run`` is raised at once.
    """
    if strategy.steps == 1:
        return await run()
    chance = rng or random.Random()  # jitter, not a secret

    def wait(state: tenacity.RetryCallState) -> float:
        return max(pause(strategy, state.attempt_number, chance), _asked(state) or 0.0)

    retrying = tenacity.AsyncRetrying(
        sleep=sleep,
        wait=wait,
        stop=lambda state: state.attempt_number >= strategy.steps or (_asked(state) or 0.0) > LONGEST_WAIT,
        retry=tenacity.retry_if_result(lambda outcome: isinstance(outcome, Retry)),
        retry_error_callback=_outcome,
    )
    return cast(Outcome, await retrying(run))


def _outcome(state: tenacity.RetryCallState) -> Outcome:
    assert state.outcome is not None  # tenacity calls us after a try
    return cast(Outcome, state.outcome.result())


def _asked(state: tenacity.RetryCallState) -> float | None:
    outcome = _outcome(state)
    return outcome.after if isinstance(outcome, Retry) else None
