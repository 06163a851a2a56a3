"""Executions: outcomes, deadlines, repetition, secrets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from kubecdc.cluster.keys import Keys
from kubecdc.manifest.mounts import Mounts
from kubecdc.reasons import LONGEST_REASON
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.testing.case import Case, Harness, Running, collect, running

CASES: list[Case] = []
MARGIN = 2.0  # seconds more than the deadline, for a slow machine
PROMPTLY = 1.0  # seconds for a cancelled execution to end
NO_MOUNTS = Mounts(Path("/nowhere/at/all"), Path("/nowhere/at/all"))


async def retried(made: Running, event: Event) -> Retry:
    """Execute, and expect a Retry."""
    outcome = await made.execute(event)
    assert isinstance(outcome, Retry), outcome
    check_reason(outcome)
    return outcome


def check_reason(outcome: Retry | Failure) -> None:
    """A reason is one line of bounded length."""
    assert outcome.reason, "a reason is not empty"
    assert outcome.reason.isprintable(), f"a reason is one line: {outcome.reason!r}"
    assert len(outcome.reason) <= LONGEST_REASON, "a reason has a bounded length"


@collect(CASES)
async def success_is_reported_after_the_work_is_done(harness: Harness) -> None:
    async with running(harness) as made:
        for number in range(3):
            assert await made.execute(harness.event(number)) == Success()
            assert harness.event(number).id in await harness.arrived()


@collect(CASES)
async def events_are_handled_at_the_same_time(harness: Harness) -> None:
    events = [harness.event(number) for number in range(4 * harness.context.concurrency)]
    async with running(harness) as made:
        waiting = asyncio.Semaphore(harness.context.concurrency)

        async def one(number: int) -> Outcome:
            async with waiting:
                return await made.execute(events[number])

        outcomes = await asyncio.gather(*(one(number) for number in range(len(events))))
    assert outcomes == [Success()] * len(events)
    assert {event.id for event in events} <= set(await harness.arrived())


@collect(CASES)
async def a_failure_that_may_pass_is_retried(harness: Harness) -> None:
    await harness.fail_for_now()
    async with running(harness) as made:
        outcome = await retried(made, harness.event(1))
        assert outcome.after is None or outcome.after >= 0, "`after` is in seconds"
        await harness.work()
        assert await made.execute(harness.event(1)) == Success()
    assert harness.event(1).id in await harness.arrived()


@collect(CASES)
async def a_permanent_failure_is_a_failure(harness: Harness) -> None:
    await harness.fail_for_good()
    async with running(harness) as made:
        outcome = await made.execute(harness.event(1))
        assert isinstance(outcome, Failure), outcome
        check_reason(outcome)


@collect(CASES)
async def a_peer_that_hangs_is_retried_within_the_deadline(harness: Harness) -> None:
    await harness.hang()
    async with running(harness) as made:
        begun = time.monotonic()
        async with asyncio.timeout(harness.deadline + MARGIN):
            await retried(made, harness.event(1))
        assert time.monotonic() - begun <= harness.deadline + MARGIN, "it blocked the event loop"
        await harness.work()
        assert await made.execute(harness.event(2)) == Success()


@collect(CASES)
async def a_peer_that_hangs_does_not_block_the_event_loop(harness: Harness) -> None:
    await harness.hang()
    async with running(harness) as made:
        execution = asyncio.create_task(made.execute(harness.event(1)))
        turns = 0
        begun = time.monotonic()
        while not execution.done() and time.monotonic() - begun < harness.deadline / 2:
            await asyncio.sleep(0.001)
            turns += 1
        assert turns >= 5, "other tasks had no turn"
        await asyncio.wait([execution], timeout=harness.deadline + MARGIN)
        assert execution.done()
        await harness.work()


@collect(CASES)
async def an_execution_may_be_repeated(harness: Harness) -> None:
    async with running(harness) as made:
        request = made.prepare(harness.event(1))
        for _ in range(3):
            assert await made.trigger.execute(request) == Success()
        again = await asyncio.gather(*(made.trigger.execute(request) for _ in range(3)))
    assert again == [Success()] * 3
    assert set(await harness.arrived()) == {harness.event(1).id}


@collect(CASES)
async def an_execution_may_be_cancelled(harness: Harness) -> None:
    await harness.hang()
    async with running(harness) as made:
        for pause in (0.0, harness.deadline / 4):
            execution = asyncio.create_task(made.execute(harness.event(1)))
            await asyncio.sleep(pause)
            execution.cancel()
            begun = time.monotonic()
            await asyncio.wait([execution], timeout=PROMPTLY)
            assert time.monotonic() - begun <= PROMPTLY + MARGIN, "it blocked the event loop"
            assert execution.done(), "a cancelled execution ends at once"
            assert execution.cancelled(), "a cancelled execution reports nothing"
        await harness.work()
        assert await made.execute(harness.event(2)) == Success()


@collect(CASES)
async def a_trigger_is_closed_twice_without_harm(harness: Harness) -> None:
    async with running(harness) as unused:
        await unused.trigger.close()
    async with running(harness) as made:
        assert await made.execute(harness.event(1)) == Success()
        await made.trigger.close()


@collect(CASES)
async def a_preview_does_nothing(harness: Harness) -> None:
    for change in (harness.work, harness.fail_for_now, harness.hang):
        await change()
        async with running(harness) as made:
            shown = made.trigger.preview(made.prepare(harness.event(1)))
            decoded = msgspec.json.decode(msgspec.json.encode(shown))
        assert isinstance(decoded, dict), "a preview is a JSON object"
        assert decoded, "a preview shows something"
    await harness.work()
    assert list(await harness.arrived()) == []


@collect(CASES)
async def a_preview_reads_no_secret_and_shows_none(harness: Harness) -> None:
    texts = []
    original = harness.context
    for keys in (original.keys, Keys(NO_MOUNTS)):
        harness.context = replace(original, keys=keys)
        async with running(harness) as made:
            texts.append(msgspec.json.encode(made.trigger.preview(made.prepare(harness.event(1)))).decode())
    harness.context = original
    assert texts[0] == texts[1], "a preview depends on what is mounted"
    assert not [secret for secret in harness.secrets if secret in texts[0]]


@collect(CASES)
async def no_outcome_shows_a_secret(harness: Harness) -> None:
    outcomes: list[Outcome] = []
    for change in (harness.work, harness.fail_for_now, harness.hang, harness.fail_for_good):
        await change()
        async with running(harness) as made:
            outcomes.append(await made.execute(harness.event(1)))
            await harness.work()
    await harness.fail_for_now()
    original = harness.context
    harness.context = replace(original, keys=Keys(NO_MOUNTS))
    async with running(harness) as made:
        outcomes.append(await made.execute(harness.event(1)))
    harness.context = original
    for outcome in outcomes:
        assert not [secret for secret in harness.secrets if secret in repr(outcome)]


@collect(CASES)
async def a_secret_that_cannot_be_read_is_retried(harness: Harness) -> None:
    if not harness.secrets:
        return
    harness.context = replace(harness.context, keys=Keys(NO_MOUNTS))
    async with running(harness) as made:
        await retried(made, harness.event(1))
    assert list(await harness.arrived()) == []
