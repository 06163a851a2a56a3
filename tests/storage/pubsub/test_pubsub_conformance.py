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
    if excuse := EXCUSES.get(case.name, ""):
        pytest.skip(excuse)
    await case.run(emulator_harness)
