"""The suite that every back end passes, on ElasticMQ; where ElasticMQ or moto differ from SQS, a case is excused."""

from __future__ import annotations

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.storage.sqs.conftest import SqsHarness


@pytest.mark.conformance("SQS FIFO (ElasticMQ)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_fifo(case: Case, fifo: SqsHarness) -> None:
    await run(case, fifo)


@pytest.mark.conformance("SQS standard (ElasticMQ)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_standard(case: Case, standard: SqsHarness) -> None:
    await run(case, standard)


async def run(case: Case, harness: SqsHarness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(harness)
