"""retryStrategy: how often, how long apart, and when it ends early."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.retry import execute, pause
from kubecdc.workers.sensor.retry_strategy import RetryStrategy


async def tried(strategy: Mapping[str, Any], *outcomes: Outcome | Exception) -> tuple[Outcome | str, int, list[float]]:
    left, slept = list(outcomes), []

    async def run() -> Outcome:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    made = RetryStrategy.model_validate(strategy)
    result: Outcome | str
    try:
        result = await execute(run, made, rng=random.Random(1), sleep=sleep)
    except LookupError:
        result = "raised"
    return result, len(outcomes) - len(left), slept


AGAIN = Retry("503")
STEADY = {"steps": 4, "duration": "2s", "factor": 3, "jitter": 0}


@pytest.mark.parametrize(
    ("strategy", "outcomes", "expected", "tries", "slept"),
    [
        ({"steps": 1}, [AGAIN], AGAIN, 1, []),
        (STEADY, [Success()], Success(), 1, []),
        (STEADY, [AGAIN, AGAIN, Success()], Success(), 3, [2, 6]),
        (STEADY, [AGAIN] * 9, AGAIN, 4, [2, 6, 18]),
        (STEADY, [AGAIN, Failure("400")], Failure("400"), 2, [2]),
        (STEADY, [Retry("503", 5), Retry("503", 1), Success()], Success(), 3, [5, 6]),
        (STEADY, [Retry("503", 31), Success()], Retry("503", 31), 1, []),
        (STEADY, [AGAIN, LookupError()], "raised", 2, [2]),
        ({"duration": 1_000_000, "jitter": 0}, [AGAIN] * 9, AGAIN, 5, [0.001] * 4),
    ],
)
async def test_tries(
    strategy: Mapping[str, Any],
    outcomes: list[Outcome | Exception],
    expected: Outcome | str,
    tries: int,
    slept: list[float],
) -> None:
    assert await tried(strategy, *outcomes) == (expected, tries, slept)


def test_jitter_only_makes_a_pause_longer() -> None:
    strategy = RetryStrategy.model_validate({"duration": "1s", "factor": 2, "jitter": 0.5})
    rng = random.Random(1)
    for tries in range(1, 9):
        base = 2.0 ** (tries - 1)
        assert base <= pause(strategy, tries, rng) <= base * 1.5


def test_a_factor_cannot_make_a_pause_that_overflows() -> None:
    strategy = RetryStrategy.model_validate({"duration": "1s", "factor": 10, "jitter": 0})
    assert pause(strategy, 5_000, random.Random(1)) == 86_400
