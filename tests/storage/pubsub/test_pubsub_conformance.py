"""The suite that every back end passes, on the fake."""

from __future__ import annotations

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.storage.pubsub.conftest import PubSubHarness

OWN_REPLAYS = "Pub/Sub replays from a time on, all objects, and does not count: test_pubsub_replays.py has its rules"
EXCUSES = {
    "a_replay_brings_settled_events_again_in_order_behind_what_is_pending": OWN_REPLAYS,
    "a_replay_takes_only_what_meets_every_condition": OWN_REPLAYS,
    "a_replay_that_cannot_be_done_does_nothing": OWN_REPLAYS,
}
NO_UPDATE = "the emulator cannot change labels (`labels is not a known Subscription field`), which limit what is owed"
TEN_SECONDS = "the shortest claim that the emulator knows is ten seconds, and this case waits for several"
EMULATOR_EXCUSES = {
    "registering_again_keeps_the_backlog": NO_UPDATE,
    "a_subscription_tells_what_it_is_registered_for_now": NO_UPDATE,
    "a_claim_that_is_extended_stays": TEN_SECONDS,
    "an_attempt_that_killed_its_worker_counts_from_the_second_reception": TEN_SECONDS,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_pubsub(case: Case, harness: PubSubHarness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    if excuse := EXCUSES.get(case.name, ""):
        pytest.skip(excuse)
    await case.run(harness)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_emulator(case: Case, emulator_harness: PubSubHarness) -> None:
    if excuse := case.excuse(emulator_harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    if excuse := (EXCUSES | EMULATOR_EXCUSES).get(case.name, ""):
        pytest.skip(excuse)
    await case.run(emulator_harness)
