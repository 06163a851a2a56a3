"""The suite that every back end passes, on RQ and a real Redis."""

from __future__ import annotations

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.storage.rq.conftest import RqHarness


@pytest.mark.conformance("RQ")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_rq(case: Case, rq_harness: RqHarness) -> None:
    if excuse := case.excuse(rq_harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(rq_harness)
