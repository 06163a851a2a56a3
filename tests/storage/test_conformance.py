"""The suite that every back end passes, on SQLite and on a real Redis; the short one, however Redis is reached."""

from __future__ import annotations

import pytest

from kubecdc.storage.testing import CASES, Case, checkpoints, commits, state
from tests.storage.conftest import RedisHarness, SqliteHarness


@pytest.mark.conformance("SQLite")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_sqlite(case: Case, harness: SqliteHarness) -> None:
    if excuse := case.excuse(harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(harness)


@pytest.mark.conformance("Redis")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_redis(case: Case, redis_harness: RedisHarness) -> None:
    if excuse := case.excuse(redis_harness.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    await case.run(redis_harness)


SHORT = (  # commit, fence, claim, settle: what scripts and redirections could break
    "a_commit_makes_events_inventory_and_state_durable",
    "a_commit_whose_reply_was_lost_is_repeated_without_effect",
    "a_newer_term_fences_the_older_one",
    "the_inventory_is_what_the_deltas_made_it",
    "one_leads_and_the_next_takes_over_with_a_greater_term",
    "events_of_an_object_arrive_in_order_with_several_workers",
    "a_nacked_event_returns_after_its_delay",
    "pruning_drops_the_backlog_and_keeps_the_dead_letters",
    "a_letter_is_redriven_to_its_own_subscription_behind_what_is_pending",
    "a_replay_brings_settled_events_again_in_order_behind_what_is_pending",
)


@pytest.mark.parametrize("name", SHORT)
async def test_redis_cluster(name: str, cluster_harness: RedisHarness) -> None:
    await _case(name).run(cluster_harness)


@pytest.mark.parametrize("name", SHORT[:4])
async def test_redis_behind_sentinel(name: str, sentinel_harness: RedisHarness) -> None:
    await _case(name).run(sentinel_harness)


@pytest.mark.parametrize("name", SHORT)
async def test_valkey(name: str, valkey_harness: RedisHarness) -> None:
    await _case(name).run(valkey_harness)


WORKED = {  # they hand events out, and what a worker says of itself asks for INFO, which fakeredis does not know
    "a_commit_makes_events_inventory_and_state_durable",
    "a_full_subscription_refuses_commits_until_it_is_worked_on",
    "a_batch_that_was_prepared_is_committed_like_others",
    "commits_under_way_together_are_made_in_their_order",
    "publish_delivers_without_a_checkpoint",
}
UNWORKED = [*commits.CASES, *checkpoints.CASES, *state.CASES]


@pytest.mark.parametrize("case", [c for c in UNWORKED if c.name not in WORKED], ids=lambda case: case.name)
async def test_scripts(case: Case, fake_harness: RedisHarness) -> None:
    """In the test's own process: no server needs to be there."""
    await case.run(fake_harness)


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)
