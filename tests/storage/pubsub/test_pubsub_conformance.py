"""The suite that every back end passes, on the fake; and on Google's emulator, where it is installed.

Replays are tested by rules of their own in test_pubsub_replays.py, because Pub/Sub does not count them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.storage.encrypted import WITH_BODIES, run_encrypted
from tests.storage.pubsub.conftest import PubSubHarness

NO_UPDATE = "the emulator cannot change labels (`labels is not a known Subscription field`), which end what is owed"
TEN_SECONDS = "the emulator knows no claim below ten seconds, and the case waits for several of them"
EXCUSES = {
    "registering_again_keeps_the_backlog": NO_UPDATE,
    "a_subscription_tells_what_it_is_registered_for_now": NO_UPDATE,
    "a_claim_that_is_extended_stays": TEN_SECONDS,
    "an_attempt_that_killed_its_worker_counts_from_the_second_reception": TEN_SECONDS,
}


@pytest.mark.conformance("Pub/Sub")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_pubsub(case: Case, harness: PubSubHarness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(harness)


@pytest.mark.long
@pytest.mark.conformance("Pub/Sub, Google's emulator")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_emulator(case: Case, emulator_harness: PubSubHarness) -> None:
    if excuse := case.excuse(emulator_harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    if excuse := EXCUSES.get(case.name, ""):
        pytest.skip(excuse)
    await case.run(emulator_harness)


@pytest.mark.parametrize("case", WITH_BODIES, ids=lambda case: case.name)
async def test_encrypted(case: Case, harness: PubSubHarness, tmp_path: Path) -> None:
    await run_encrypted(case, harness, tmp_path)
