"""Objects come and go, a watcher publishes them to a broker that fails in every way, and dies at any await.

Whatever hypothesis makes of it: in the end consumers believe what is there, every object's versions were first heard of
in their order, and no id stands for two events.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import patch

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kubecdc.backoff import Backoff
from kubecdc.storage.testing.fault_injection import Crash
from kubecdc.watcher.capture import checkpoint_writer
from tests.watcher.mortal import Fuse, Life, Mishap, Mortal

NAMES = st.sampled_from(["a", "b", "c"])
MISHAPS: st.SearchStrategy[list[Mishap]] = st.lists(
    st.sampled_from(["fine", "throttled", "first only", "last only", "reply lost"]), max_size=8
)


class SplitCommits(RuleBasedStateMachine):
    """One watcher at a time; the next one has the next term."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.mortal = Mortal(0.0)
        self.fuse = Fuse(self.mortal.hands)
        self.life: Life | None = None
        self.stack = AsyncExitStack()
        self.patches = [
            patch.object(checkpoint_writer, "BLOCKED", Backoff(duration=0.0, jitter=0.0)),
            structlog.testing.capture_logs(),
        ]
        for one in self.patches:
            one.__enter__()  # type: ignore[attr-defined]

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    @rule(name=NAMES, shown=st.booleans())
    def change(self, name: str, shown: bool) -> None:
        self.mortal.world.put(name, shown=shown)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.mortal.world.delete(name)

    @rule(mishaps=MISHAPS, dies_after=st.none() | st.integers(0, 14))
    def watch(self, mishaps: list[Mishap], dies_after: int | None) -> None:
        """Capture what there is to capture, or die of it. A watcher that died is followed by another one."""
        self.mortal.queue.mishaps = iter(mishaps)
        try:
            if self.life is None:
                self.fuse = Fuse(self.mortal.hands)
                self.life = self.run(self.stack.enter_async_context(self.mortal.life(self.fuse)))
            if dies_after is not None:
                self.fuse.last(dies_after)
            self.run(self.life.capture())
        except Crash:
            self.end()
            self.mortal.world.forget()  # so only the store knows what was said

    @rule()
    def hand_over(self) -> None:
        if self.life is not None:
            try:
                self.run(self.life.hand_over())
            except Crash:
                self.mortal.world.forget()
            self.end()

    def end(self) -> None:
        self.life = None
        self.run(self.stack.aclose())

    @invariant()
    def an_id_stands_for_one_event(self) -> None:
        told: dict[str, Any] = {}
        for event, _ in self.mortal.queue.told:
            key = (event.id, event.synthetic)
            assert told.setdefault(str(key), event.data) == event.data

    @invariant()
    def an_object_is_first_heard_of_in_order(self) -> None:
        """A DELETE that a repair made up has the version of its list, so it is left out here."""
        seen: dict[str, list[int]] = defaultdict(list)
        ids = set()
        for event, _ in self.mortal.queue.told:
            if event.id not in ids and not (event.synthetic and ".DELETE" in event.id):
                ids.add(event.id)
                seen[event.partitionkey].append(int(event.sequence))
        assert all(versions == sorted(versions) for versions in seen.values()), seen

    def teardown(self) -> None:
        self.mortal.queue.mishaps = iter(())
        if self.life is not None:
            self.end()
        self.mortal.world.forget()

        async def last() -> None:
            async with self.mortal.life(Fuse(self.mortal.hands)) as life:
                await life.capture()

        self.run(last())
        for one in reversed(self.patches):
            one.__exit__(None, None, None)  # type: ignore[attr-defined]
        self.loop.close()
        assert self.mortal.queue.known().keys() == self.mortal.world.to_be_known()


TestSplitCommits = SplitCommits.TestCase
TestSplitCommits.settings = settings(max_examples=400, stateful_step_count=25, deadline=None)
