"""A ConfigMap in memory that behaves as in an API server, and a clock that tests set."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec

from kubecdc.storage.configmap.config_map import Conflict

Step = Callable[[], None]


class FakeConfigMaps:
    """`storage.configmap.ConfigMaps`. ``before`` and ``after`` are called around each write, and may raise."""

    place = "default/kubecdc-checkpoint"

    def __init__(self) -> None:
        self.document: dict[str, Any] | None = None
        self.version = 100
        self.reads = 0
        self.writes = 0
        self.before: Step = lambda: None
        self.after: Step = lambda: None

    async def get(self, *, seconds: float) -> bytes | None:
        await asyncio.sleep(0)
        self.before()
        self.reads += 1
        return None if self.document is None else msgspec.json.encode(self.document)

    async def create(self, document: dict[str, Any], *, seconds: float) -> bytes:
        return await self._write(document, fits=self.document is None)

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        current = self.document and self.document["metadata"]["resourceVersion"]
        return await self._write(document, fits=document["metadata"]["resourceVersion"] == current)

    async def _write(self, document: dict[str, Any], *, fits: bool) -> bytes:
        await asyncio.sleep(0)
        self.before()
        if not fits:
            raise Conflict("the object has been modified")
        self.version += 1
        self.writes += 1
        self.document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        self.after()
        await asyncio.sleep(0)
        return msgspec.json.encode(self.document)


class FakeClock:
    """A clock that a test advances. Sleeping tasks wake at their times."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.time + seconds, next(self._order), woken))
        await woken

    async def move(self, seconds: float) -> None:
        """Advance the clock, and run all that is due meanwhile."""
        until = self.time + seconds
        while self._sleeping and self._sleeping[0][0] <= until:
            moment, _, woken = heapq.heappop(self._sleeping)
            self.time = max(self.time, moment)
            if not woken.done():
                woken.set_result(None)
            await settled()
        self.time = until
        await settled()


async def settled() -> None:
    """Run all tasks until they wait for the clock."""
    for _ in range(30):
        await asyncio.sleep(0)
