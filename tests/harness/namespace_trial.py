"""A trial of namespaces that come and go: a load under random faults on a whole stack, and the judgment of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubecdc.storage.contracts import Gap
from tests.harness.faults import Unleashed, plan
from tests.harness.kinds import Kind
from tests.harness.namespaces import NamespaceLoad, Place, touch
from tests.harness.selections import Verdict, judge
from tests.harness.stack import Stack
from tests.harness.trial import KEY, PATIENCE, SUBSCRIPTION
from tests.harness.writer import Writer

KINDS = set(Kind) - {Kind.LOSE_TAIL}
"""Faults whose consequences the judgment knows: not what Redis forgets together with the API server's history."""


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
        self.writer.aside = self._aside
        keys = (KEY, *(f"{KEY}/{place.name}" for place in self.places))
        async with self.stack.gaps_remembered(*keys), asyncio.TaskGroup() as group:
            striking = group.create_task(Unleashed(self.stack, self.writer, rng).run(planned))
            group.create_task(load.run(self.writer, self.namespaces, self.places, longer=lambda: not striking.done()))
        return await self._verdict()

    def _aside(self) -> Callable[[], None]:
        """What a copy of etcd has beside the objects."""
        live = dict(self.namespaces._live)
        places = [place.aside() for place in self.places]

        def put_back() -> None:
            self.namespaces._live = dict(live)
            for place in places:
                place()

        return put_back

    async def _verdict(self) -> Verdict:
        """After a restore only an audit may find what is wrong: the first good one, or the last within `PATIENCE`."""
        deadline = time.monotonic() + (PATIENCE if self.writer.restores else 0.0)
        while True:
            gaps = await self._settled()
            receipts = self.stack.receipts(SUBSCRIPTION)
            verdict = judge(
                self.places,
                self.writer,
                receipts,
                gaps,
                absences=self.stack.absences,
                window=self.stack.bus.ack_wait,
                atomic=self.stack.bus.atomic,
                clock=time.time() - time.monotonic(),
                copies=self.stack.bus.copies(),
            )
            if not verdict.wrong or time.monotonic() > deadline:
                return verdict
            await asyncio.sleep(0.5)
            for place in self.places:
                await touch(self.writer, place)

    async def _settled(self) -> dict[str, list[Gap]]:
        """Wait until all has come; the gaps of each namespace."""
        last = {f"{KEY}/{place.name}": place.periods[-1][-1].version or 0 for place in self.places}
        async with self.stack.bus.observed(self.stack.kubeconfig) as bus:

            async def behind() -> str:
                states = {c.key: c.state for c in await bus.checkpoints.checkpoints() if c.state}
                late = {key for key, s in states.items() if s.listing or int(s.position or 0) < last.get(key, 0)}
                return f"{late}, {last.keys() ^ states.keys()}" if late or last.keys() != states.keys() else ""

            await self.stack.wait(behind, 90.0, "the watches of the namespaces that are selected")
        await self.stack.drained()
        left = await self.stack.gaps(KEY)  # of namespaces that are not watched any more
        return {place.name: [*left, *await self.stack.gaps(f"{KEY}/{place.name}")] for place in self.places}
