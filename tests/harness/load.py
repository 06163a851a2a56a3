"""A random load: objects are made, changed, deleted, and made anew under their names."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.harness.writer import Writer

NAMESPACES = ("default", "team-a", "team-b")
SENTINEL = "zz-last"


@dataclass(frozen=True, kw_only=True)
class Load:
    """``changes`` writes on ``objects`` names by ``writers`` concurrent writers, each the only one of its objects.

    ``rate``: changes a second, 0 = as fast as it goes. ``deletions``: the share of deletions among the changes of
    objects that are there. ``padding``: bytes that each object carries on top.
    """

    seed: int
    objects: int = 200
    changes: int = 5000
    rate: float = 0.0
    writers: int = 8
    deletions: float = 0.15
    padding: int = 0

    async def run(self, writer: Writer, *, longer: Callable[[], bool] = lambda: False) -> None:
        """Make the changes, more of them while ``longer`` says so, and one at the end whose version is known: what has
        passed it has seen them all."""
        slots = itertools.count()
        turn = time.monotonic()

        async def work(number: int) -> None:
            rng = random.Random(f"{self.seed}/{number}")
            mine = [(NAMESPACES[n % len(NAMESPACES)], f"wf-{n:04}") for n in range(number, self.objects, self.writers)]
            for slot in slots:
                if slot >= self.changes and not longer():
                    return
                if self.rate:  # no catching up after a stall: a burst would only widen the gaps
                    nonlocal turn
                    turn = max(turn + 1 / self.rate, time.monotonic())
                    await asyncio.sleep(turn - time.monotonic())
                namespace, name = rng.choice(mine)
                async with writer.turn():
                    await self._change(writer, rng, namespace, name)

        async with asyncio.TaskGroup() as group:
            for number in range(min(self.writers, self.objects)):
                group.create_task(work(number))
        if not await touch(writer):
            async with writer.turn():
                await writer.create(NAMESPACES[0], SENTINEL, {"spec": {"finished": len(writer.changes)}})

    async def _change(self, writer: Writer, rng: random.Random, namespace: str, name: str) -> None:
        if writer.live(namespace, name) is None:
            labels = {"shard": str(rng.randrange(4))}
            body = {"metadata": {"labels": labels}, "spec": {"n": 0, "padding": "x" * self.padding}}
            await writer.create(namespace, name, body)
        elif rng.random() < self.deletions:
            await writer.delete(namespace, name)
        else:
            await writer.patch(namespace, name, {"spec": {"n": rng.randrange(10**6)}})


async def touch(writer: Writer) -> bool:
    """Change the object that no load ever deletes; False if there is none."""
    async with writer.turn():
        if not writer.live(NAMESPACES[0], SENTINEL):
            return False
        await writer.patch(NAMESPACES[0], SENTINEL, {"spec": {"finished": len(writer.changes)}})
        return True
