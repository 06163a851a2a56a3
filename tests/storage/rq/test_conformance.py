"""The suite that every back end passes, on RQ and a real Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.storage.encrypted import WITH_BODIES, run_encrypted
from tests.storage.rq.conftest import RqHarness


@pytest.mark.conformance("RQ")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_rq(case: Case, rq_harness: RqHarness) -> None:
    if excuse := case.excuse(rq_harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(rq_harness)


@pytest.mark.parametrize("case", WITH_BODIES, ids=lambda case: case.name)
async def test_encrypted(case: Case, rq_harness: RqHarness, tmp_path: Path) -> None:
    await run_encrypted(case, rq_harness, tmp_path)
