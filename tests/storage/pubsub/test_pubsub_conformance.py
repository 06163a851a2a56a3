"""The suite that every back end passes, on the fake."""

from __future__ import annotations

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.storage.pubsub.conftest import PubSubHarness

EXCUSES: dict[str, str] = {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_pubsub(case: Case, harness: PubSubHarness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    if excuse := EXCUSES.get(case.name, ""):
        pytest.skip(excuse)
    await case.run(harness)
