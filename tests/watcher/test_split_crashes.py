"""A watcher whose checkpoint is elsewhere may die at any await: in the end, consumers believe what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from kubecdc.storage.contracts import Batch, CheckpointStore, Publication, Publisher, Term
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.split import SplitPublisher
from tests.watcher.mortal import Commits, Mortal

WINDOW = 1.0
NAMES = st.sampled_from(["a", "b", "c"])
ACTIONS = st.one_of(
    NAMES.map("put {}".format),
    NAMES.map("hide {}".format),
    NAMES.map("delete {}".format),
    st.just("watch"),
    st.just("watch"),
    st.sampled_from(["wait 0.25", "wait 0.5", "forget"]),
)
SCRIPTS = st.lists(ACTIONS, min_size=2, max_size=9)
SCENARIO = ["watch", "put a", "watch", "put b", "watch", "delete a", "delete b"]


class Naive:
    """Publishes, then saves, and says nothing before."""

    under_way = 1

    def __init__(self, publisher: Publisher, checkpoints: CheckpointStore) -> None:
        self._publisher = publisher
        self._checkpoints = checkpoints

    async def publish(self, publication: Publication) -> None:
        await self._publisher.publish(publication)

    def fit(self, event: Event) -> Event:
        return event

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return batch

    async def commit(self, batch: Batch, *, term: Term) -> None:
        await self._publisher.publish(Publication(batch.events))
        await self._checkpoints.save(batch.key, batch.delta, term=term)


def lost(
    script: Sequence[str],
    window: float,
    commits: Commits = SplitPublisher,
    *,
    forgive: float = 0.0,
    second: int = 1 << 30,
) -> list[tuple[set[str], set[str]]]:
    """Die at each place in turn, and once more so many places later.

    Returns of each run what consumers do not know of, and what they never heard the end of. Of the latter, what they
    first heard of so many seconds before a death, or less, is left out.
    """

    async def all_() -> list[tuple[set[str], set[str]]]:
        found: list[tuple[set[str], set[str]]] = []
        while True:
            mortal = Mortal(window, commits)
            deaths = await mortal.live(script, [len(found), second])
            known, there = mortal.queue.known(), mortal.world.to_be_known()
            forgiven = {uid for uid, told in known.items() for death in deaths if 0 <= death - told <= forgive}
            found.append((there - known.keys(), known.keys() - there - (forgiven if forgive else set())))
            if not deaths:
                return found

    with structlog.testing.capture_logs():
        return asyncio.run(all_())


@settings(max_examples=50)
@given(SCRIPTS, st.integers(0, 60))
def test_nothing_is_lost_wherever_it_dies(script: list[str], second: int) -> None:
    assert all(pair == (set(), set()) for pair in lost(script, 0.0, second=second))


@settings(max_examples=50)
@given(SCRIPTS, st.integers(0, 60))
def test_with_a_write_window_only_deletions_of_what_was_told_in_it_are(script: list[str], second: int) -> None:
    assert all(pair == (set(), set()) for pair in lost(script, WINDOW, forgive=WINDOW, second=second))


def test_places_to_die_are_found_in_every_part_of_a_commit() -> None:
    assert len(lost(SCENARIO, 0.0)) > 15


@pytest.mark.parametrize("window", [0.0, WINDOW])
def test_the_scenario_that_needs_the_intent(window: float) -> None:
    """Create, publish, crash, deleted while nobody watches, history expired."""
    assert any(ghosts for _, ghosts in lost(SCENARIO, 0.0, Naive))
    assert not any(ghosts or missing for missing, ghosts in lost(SCENARIO, window, forgive=window))


def test_what_the_write_window_costs_is_what_is_documented_and_a_pause_ends_it() -> None:
    assert any(ghosts for _, ghosts in lost(SCENARIO, WINDOW))
    slow = [step for action in SCENARIO for step in (action, "wait 1.25")]
    assert not any(ghosts or missing for missing, ghosts in lost(slow, WINDOW))
