"""What an outcome makes of a delivery: an outage is not a poison."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import NO_FAILURES, Failures
from kubecdc.workers import settlement
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.settlement import Ack, DeadLetter, Nack, Settlement, decide
from tests.harness.processes import until
from tests.workers.support import event, settings

CAPTURED = datetime.fromisoformat(event().time).timestamp()


@dataclass
class Tried:
    """An event that fails again and again. ``successes`` are those of its trigger for others."""

    most: int
    successes: int = 100
    attempt: int = 0
    failures: Failures = NO_FAILURES

    def fails(self, outcome: Outcome = Retry("503")) -> Settlement:  # noqa: B008 (a value)
        self.attempt += 1
        settlement = decide(outcome, self.attempt, self.failures, self.successes, settings(max_deliveries=self.most))
        if isinstance(settlement, Nack):
            assert settlement.failures is not None
            self.failures = settlement.failures
        return settlement


@pytest.mark.parametrize("most", [1, 2, 3, 20])
def test_an_outage_of_any_length_makes_no_dead_letter(most: int) -> None:
    tried = Tried(most)
    assert all(isinstance(tried.fails(), Nack) for _ in range(2000))
    assert tried.attempt - tried.failures.uncounted == 0, "none is known to count"


@pytest.mark.parametrize(("most", "attempts"), [(1, 2), (2, 2), (3, 3), (20, 20)])
def test_an_event_that_fails_while_others_succeed_is_given_up(most: int, attempts: int) -> None:
    """A single attempt tells nothing, so 1 is as good as 2."""
    tried = Tried(most)
    for _ in range(attempts - 1):
        assert isinstance(tried.fails(), Nack)
        tried.successes += 1
    assert tried.fails() == DeadLetter(f"gave up after {attempts} attempts: 503")


def test_attempts_from_before_between_and_after_outages_add_up() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(200):
        tried, counted = Tried(most=5), 0
        while isinstance(settlement := tried.fails(), Nack):
            if rng.random() < 0.3:
                tried.successes += rng.randrange(1, 5)
                counted += 1
            assert counted < 5
        assert counted == 4, "the attempt that made it a dead letter is the fifth"
        assert isinstance(settlement, DeadLetter)


def test_what_can_never_work_is_given_up_in_an_outage_too() -> None:
    tried = Tried(most=3)
    tried.fails()
    assert tried.fails(Failure("400")) == DeadLetter("400")
    assert decide(Success(), 7, NO_FAILURES, 0, settings()) == Ack()


def test_with_max_deliveries_0_an_event_is_never_given_up_for_its_attempts() -> None:
    tried = Tried(most=0)
    for _ in range(1000):
        assert isinstance(tried.fails(), Nack)
        tried.successes += 1


def test_an_event_that_is_too_old_is_given_up_at_its_next_failure_though_it_is_an_outage() -> None:
    rules = settings(give_up_after=timedelta(hours=2), wall=lambda: CAPTURED + 7200.5)
    left = rules.left(event())
    assert left == 0.0
    found = decide(Retry("503"), 1, NO_FAILURES, 0, rules, left)
    assert found == DeadLetter(
        "gave up after 1 attempt, because it was captured more than 2:00:00 ago (giveUpAfter): 503"
    )
    assert decide(Success(), 1, NO_FAILURES, 0, rules, left) == Ack()
    younger = settings(give_up_after=timedelta(hours=2), wall=lambda: CAPTURED + 7190.0)
    assert younger.left(event()) == pytest.approx(10.0)
    assert isinstance(decide(Retry("503"), 1, NO_FAILURES, 0, younger, younger.left(event())), Nack)
    assert settings().left(event()) is None


def test_the_delay_goes_on_growing_in_an_outage() -> None:
    tried = Tried(most=3)
    delays = [settlement.delay for _ in range(12) if isinstance(settlement := tried.fails(), Nack)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_the_reason_tells_attempts_in_an_outage_from_the_others() -> None:
    tried = Tried(most=2)
    for _ in range(9):
        tried.fails()
    tried.successes += 1
    assert tried.fails() == DeadLetter("gave up after 10 attempts, 8 of them while it failed for all events: 503")


async def test_an_outage_is_told_of_once_for_all_deliveries_that_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settlement, "_BACKOFF", Backoff(duration=0.01, factor=1.0, cap=0.01, jitter=0.0))
    up, calls = asyncio.Event(), 0

    async def ack() -> int:
        nonlocal calls
        calls += 1
        if not up.is_set():
            raise Unavailable("the bus is away", hint="start it")
        return calls

    with structlog.testing.capture_logs() as lines:
        waiting = [asyncio.create_task(settlement.persist(ack)) for _ in range(20)]
        await until(lambda: calls > 6 * len(waiting), 60, "attempts of all")
        up.set()
        assert len(await asyncio.gather(*waiting)) == 20
    assert [(line["event"], line.get("deliveries"), line.get("hint")) for line in lines] == [
        ("the bus does not accept settlements; they are retried", 20, "start it"),
        ("the bus accepts settlements again", None, None),
    ]
