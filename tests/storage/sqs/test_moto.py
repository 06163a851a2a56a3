"""What moto has of SQS and ElasticMQ has not: fair queues, the limit of 1 MiB.

It is slow, so the whole suite runs on it for `make conformance` only, and otherwise a few cases of it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.testing import CASES, Case
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event
from tests.storage.encrypted import WITH_BODIES, run_encrypted
from tests.storage.sqs.calls import Calls
from tests.storage.sqs.conftest import SqsHarness
from tests.storage.sqs.test_conformance import run

NAME = "billing"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)
SHORT = {
    "a_commit_makes_events_inventory_and_state_durable",
    "a_commit_whose_reply_was_lost_is_repeated_without_effect",
    "a_full_subscription_refuses_commits_until_it_is_worked_on",
    "registering_again_keeps_the_backlog",
    "a_subscription_tells_what_it_is_registered_for_now",
    "an_attempt_is_a_start_that_was_nacked",
    "settling_again_changes_nothing",
    "what_cannot_be_redriven_stays_and_says_why",
}
EXCUSES = {  # of FIFO queues
    "events_of_an_object_arrive_in_order_with_several_workers": (
        "lets a long poll have messages of a group that another call has taken since the poll began"
    ),
    "no_more_is_handed_out_than_prefetch": "looks at all messages for each call, which takes longer than a call may",
}


@pytest.mark.conformance("SQS FIFO (moto)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_fifo(case: Case, moto_fifo: SqsHarness, whole_suite: bool) -> None:
    if not whole_suite and case.name not in SHORT:
        pytest.skip("moto is slow: `make conformance` runs this")
    if excuse := EXCUSES.get(case.name):
        pytest.skip(f"the emulator moto {excuse}")
    await run(case, moto_fifo)


@pytest.mark.conformance("SQS standard (moto)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_standard(case: Case, moto_standard: SqsHarness, whole_suite: bool) -> None:
    if not whole_suite and case.name not in SHORT:
        pytest.skip("moto is slow: `make conformance` runs this")
    await run(case, moto_standard)


@pytest.mark.parametrize("case", WITH_BODIES, ids=lambda case: case.name)
async def test_encrypted(case: Case, moto_fifo: SqsHarness, tmp_path: Path) -> None:
    await run_encrypted(case, moto_fifo, tmp_path)


@pytest.fixture
def whole_suite(request: pytest.FixtureRequest) -> bool:
    """Whether the tests run for the matrix of `make conformance`."""
    return "conformance" in request.config.option.markexpr


async def test_fair_queues_have_the_object_as_the_group(moto_standard: SqsHarness, calls: Calls) -> None:
    queue = await moto_standard.queue(settings=replace(moto_standard.settings, fair=True))
    await queue.register([SUB])
    long = event(2, "x" * 200)
    await queue.publisher.publish(Publication([event(1), long]))
    (made,) = calls.of("send_message_batch")
    one, two = made["Entries"]
    assert one["MessageGroupId"] == event(1).partitionkey
    assert two["MessageGroupId"].startswith("sha256:")
    assert "MessageDeduplicationId" not in one
    source, lanes = queue.source(NAME), set[str]()
    while len(lanes) < 2:
        lanes |= {message.lane for message in await source.receive(10)}
    assert lanes == {event(1).partitionkey, long.partitionkey}


async def test_ensure_sets_all_attributes_of_a_queue(moto_fifo: SqsHarness) -> None:
    await (await moto_fifo.queue()).register([SUB])
    smaller = await moto_fifo.queue(settings=replace(moto_fifo.settings, message_bytes=256 << 10))
    lines = await smaller.ensure([SUB], dry_run=False)
    assert len(lines) == 2
    assert all(line.endswith("MaximumMessageSize 262144") for line in lines)
    assert await smaller.ensure([SUB], dry_run=False) == []
