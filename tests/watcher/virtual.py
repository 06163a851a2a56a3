"""Machines of their own in one event loop: clocks that drift, pauses, a network that delays, loses and parts them.

Time passes only when nothing is left to do, so a minute takes milliseconds and every run is the same.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from kubecdc.cluster.errors import ApiError
from kubecdc.watcher.election.lease import Lease, decode

T = TypeVar("T")
Span = tuple[float, float]  # from, until; in seconds of the world


class _Instant(selectors.SelectSelector):
    """Waits for nothing: the time asked for has passed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits, and for nothing"
        self.passed += max(timeout, 0.0)
        return super().select(0)


class World(asyncio.SelectorEventLoop):
    """The event loop. ``watch`` is called at each moment at which something happens."""

    def __init__(self) -> None:
        self._instant = _Instant()
        self._clock_resolution = 1e-9
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.passed


def run(scenario: Callable[[World], Coroutine[Any, Any, T]]) -> T:
    """Run it in a world of its own."""
    world = World()
    try:
        return world.run_until_complete(scenario(world))
    finally:
        world.close()


@dataclass
class Machine:
    """A `watcher.election.clock.Clock`. While it is paused time passes and nothing runs, as after SIGSTOP."""

    world: World
    rate: float = 1.0  # seconds of its clock in a second of the world
    pauses: list[Span] = field(default_factory=list)
    parted: list[Span] = field(default_factory=list)  # no packet comes or goes
    jumps: float = 0.0  # what the time of day is off

    def now(self) -> float:
        return self.world.time() * self.rate + 1000.0

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.world.time() + self.jumps)

    async def sleep(self, seconds: float) -> None:
        await self.until(self.world.time() + max(seconds, 0.0) / self.rate)

    async def until(self, moment: float) -> None:
        """Sleep until a moment of the world, and until no pause holds it."""
        await _at(self.world, moment)
        while held := [end for start, end in self.pauses if start <= self.world.time() < end]:
            await _at(self.world, max(held))

    def is_paused(self) -> bool:
        return any(start <= self.world.time() <= end for start, end in self.pauses)

    def is_parted(self) -> bool:
        return any(start <= self.world.time() < end for start, end in self.parted)


async def _at(world: World, moment: float) -> None:
    reached = world.create_future()

    def reach() -> None:
        if not reached.done():
            reached.set_result(None)

    timer = world.call_at(moment, reach)
    try:
        await reached
    finally:
        timer.cancel()


class Server:
    """One Lease with optimistic concurrency. Each write has a new version."""

    def __init__(self, on_write: Callable[[], None] = lambda: None) -> None:
        self.document: dict[str, Any] | None = None
        self._on_write = on_write
        self._version = 0

    def get(self) -> Lease | None:
        return None if self.document is None else _read(self.document)

    def create(self, document: dict[str, Any]) -> Lease:
        if self.document is not None:
            raise ApiError("already exists", status=409)
        self._version += 1
        return self._write(document, f"uid-{self._version}")

    def update(self, document: dict[str, Any]) -> Lease:
        if self.document is None:
            raise ApiError("not found", status=404)
        had, given = self.document["metadata"], document["metadata"]
        if (had["uid"], had["resourceVersion"]) != (given["uid"], given["resourceVersion"]):
            raise ApiError("the object has been modified", status=409)
        return self._write(document, had["uid"])

    def delete(self) -> None:
        self.document = None

    def _write(self, document: dict[str, Any], uid: str) -> Lease:
        self._version += 1
        self.document = {
            **document,
            "metadata": {**document["metadata"], "uid": uid, "resourceVersion": str(self._version)},
        }
        self._on_write()
        return _read(self.document)


def _read(document: dict[str, Any]) -> Lease:
    return decode(msgspec.json.encode(document))


class Wire:
    """`watcher.election.lease.LeaseClient` of one machine, over a network that takes its time.

    What was sent may arrive long after the sender has given up.
    """

    def __init__(self, server: Server, machine: Machine, rng: random.Random, slowness: float) -> None:
        self._server = server
        self._machine = machine
        self._rng = rng
        self.slowness = slowness

    async def get(self, *, seconds: float) -> Lease | None:
        return await self._call(self._server.get, seconds)

    async def create(self, document: dict[str, Any], *, seconds: float) -> Lease:
        return await self._call(lambda: self._server.create(document), seconds)

    async def update(self, document: dict[str, Any], *, seconds: float) -> Lease:
        return await self._call(lambda: self._server.update(document), seconds)

    async def _call(self, do: Callable[[], T], seconds: float) -> T:
        machine, world = self._machine, self._machine.world
        deadline = world.time() + seconds / machine.rate
        there, back = self.delays()
        answer: asyncio.Future[T] = world.create_future()

        def arrive() -> None:
            try:
                result = do()
            except ApiError as e:
                if not answer.done():
                    answer.set_exception(e)
                    answer.exception()  # it may be that nobody waits any more
            else:
                if not answer.done():
                    answer.set_result(result)

        if not machine.is_parted():
            world.call_later(there, arrive)
        await machine.until(min(world.time() + there + back, deadline))
        if not answer.done() or machine.is_parted() or world.time() >= deadline:
            answer.cancel()
            raise ApiError("no answer in time")
        return answer.result()

    def delays(self) -> tuple[float, float]:
        """Of a request and its reply."""
        return self._delay(), self._delay()

    def _delay(self) -> float:
        """Mostly quick, now and then longer than any deadline."""
        return self._rng.uniform(0.0, 0.05) if self._rng.random() > self.slowness else self._rng.uniform(0.05, 20.0)
