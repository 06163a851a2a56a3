"""The suite that every back end passes, on ElasticMQ; where ElasticMQ or moto differ from SQS, a case is excused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.apiserver import simulator
from tests.storage.sqs.conftest import ELASTICMQ_BYTES, SqsHarness, harness_on
from tests.storage.sqs.elasticmq import ElasticMq


@pytest.mark.conformance("SQS FIFO (ElasticMQ)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_fifo(case: Case, fifo: SqsHarness) -> None:
    await run(case, fifo)


@pytest.mark.long
@pytest.mark.conformance("SQS standard (ElasticMQ)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_standard(case: Case, standard: SqsHarness) -> None:
    await run(case, standard)


WITH_CONFIG_MAPS = {  # those that use what the two have to do with each other: checkpoints, and attempts
    "a_commit_makes_events_inventory_and_state_durable",
    "a_commit_whose_reply_was_lost_is_repeated_without_effect",
    "an_attempt_is_a_start_that_was_nacked",
    "an_attempt_that_killed_its_worker_counts_from_the_second_reception",
    "after_a_dead_letter_the_next_of_its_object_proceeds",
    "what_was_claimed_but_not_handed_out_is_not_held_back",
}


@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in CASES if case.name in WITH_CONFIG_MAPS], ids=lambda case: case.name)
@pytest.mark.parametrize("kind", ["fifo", "standard"])
async def test_with_config_maps(
    case: Case, kind: str, elastic_mq: ElasticMq, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with (
        simulator() as api,
        harness_on(elastic_mq.url, tmp_path, request.node.name, fifo=kind == "fifo", limit=ELASTICMQ_BYTES) as harness,
    ):
        harness.kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        await run(case, harness)


async def run(case: Case, harness: SqsHarness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(harness)
