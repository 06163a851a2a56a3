"""Any back end with encryption around it, for the suite that every back end passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.testing import CASES, Case, Harness
from tests.storage.keys import NEW, OLD, KeyFolder

NAMES = {  # where what objects contain is written or read, on its way there and back
    "a_commit_makes_events_inventory_and_state_durable",
    "a_commit_whose_reply_was_lost_is_repeated_without_effect",
    "a_batch_that_was_prepared_is_committed_like_others",
    "publish_delivers_without_a_checkpoint",
    "the_body_kept_of_an_object_is_that_of_its_last_upsert",
    "what_comes_and_goes_within_a_step_is_intended_and_then_gone",
    "a_nacked_event_returns_after_its_delay",
    "what_a_nack_keeps_of_failures_is_there_for_the_next_worker",
    "after_a_dead_letter_the_next_of_its_object_proceeds",
    "an_event_committed_by_another_process_is_delivered_without_a_restart",
    "a_letter_is_redriven_to_its_own_subscription_behind_what_is_pending",
    "a_letter_is_superseded_once_a_later_event_of_its_object_was_delivered",
    "what_cannot_be_redriven_stays_and_says_why",
}
WITH_BODIES = [case for case in CASES if case.name in NAMES]


@dataclass
class EncryptedHarness:
    """The bus of another harness, with two keys."""

    inner: Harness
    folder: KeyFolder
    stack: AsyncExitStack

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @property
    def short(self) -> timedelta:
        return self.inner.short

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        bus = await self.inner.open(holder, ack_wait=ack_wait, max_pending=max_pending)
        return EncryptedBus(bus, await self.stack.enter_async_context(self.folder.kept(NEW, OLD)))


@asynccontextmanager
async def _encrypted(inner: Harness, folder: Path) -> AsyncIterator[EncryptedHarness]:
    """The keys are in a folder of this one."""
    async with AsyncExitStack() as stack:
        yield EncryptedHarness(inner, KeyFolder(folder / "secrets").write(NEW, OLD), stack)


async def run_encrypted(case: Case, inner: Harness, folder: Path) -> None:
    """A case of the suite, unless the back end lacks what it needs."""
    if excuse := case.excuse(inner.capabilities):
        pytest.skip(f"the back end lacks the capability {excuse}")
    async with _encrypted(inner, folder) as harness:
        await case.run(harness)
