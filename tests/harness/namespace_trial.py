"""A trial of namespaces that come and go: a load under random faults on a whole stack, and the judgement of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from kubecdc.storage.contracts import Gap
from tests.harness.faults import Unleashed, plan
from tests.harness.kinds import Kind
from tests.harness.namespaces import NamespaceLoad, Place
from tests.harness.selections import Verdict, judge
from tests.harness.stack import Stack
from tests.harness.trial import KEY, SUBSCRIPTION
from tests.harness.writer import Writer

KINDS = {
    Kind.KILL_WATCHER,
    Kind.PAUSE_WATCHER,
    Kind.KILL_SERVER,
    Kind.RESTART_SERVER,
    Kind.EXPIRE_HISTORY,
    Kind.BLACKOUT,
    Kind.PAUSE_SERVER,
    Kind.PAUSE_ETCD,
    Kind.CUT_STREAMS,
    Kind.REFUSE_WATCHES,
}
"""Faults under which each event still comes once, and after which the judgement knows what is there."""


@dataclass
class NamespaceTrial:
    """Rounds on one stack, whose entry selects the namespaces. ``namespaces`` writes those, ``writer`` the objects."""

    stack: Stack
    writer: Writer
    namespaces: Writer
    places: list[Place]

    async def run(self, load: NamespaceLoad, faults: Mapping[Kind, int]) -> Verdict:
        """Run the load under the faults, wait until all has come, and judge everything since the stack began."""
        assert faults.keys() <= KINDS
        rng = random.Random(f"faults/{load.seed}")
        planned = plan(rng, load.changes, faults)
        async with asyncio.TaskGroup() as group:
            striking = group.create_task(Unleashed(self.stack, self.writer, rng).run(planned))
            group.create_task(load.run(self.writer, self.namespaces, self.places, longer=lambda: not striking.done()))
        gaps = await self._settled()
        return judge(self.places, self.writer, self.stack.receipts(SUBSCRIPTION), gaps)

    async def _settled(self) -> dict[str, list[Gap]]:
        """Wait until all has come; the gaps of each namespace."""
        last = {f"{KEY}/{place.name}": place.periods[-1][-1].version or 0 for place in self.places}
        async with self.stack.bus.observed(self.stack.kubeconfig) as bus:

            async def behind() -> str:
                states = {c.key: c.state for c in await bus.checkpoints.checkpoints() if c.state}
                late = {key for key, s in states.items() if s.listing or int(s.position or 0) < last.get(key, 0)}
                return f"{late}, {last.keys() ^ states.keys()}" if late or last.keys() != states.keys() else ""

            await self.stack.wait(behind, 90.0, "the watches of the namespaces that are selected")
            await self.stack.settle(0)
            left = await bus.checkpoints.gaps(KEY)  # of namespaces that are not watched any more
            return {place.name: [*left, *await bus.checkpoints.gaps(f"{KEY}/{place.name}")] for place in self.places}
