"""Namespaces that are made, labeled, left out and deleted at random, while objects in them change.

Each namespace has one writer, so what was done to it and in it has one order.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from tests.harness.api import Resource
from tests.harness.history import Change
from tests.harness.writer import Writer

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
SELECTOR = {"matchLabels": {"env": "prod"}}
OBJECTS = 5  # in a namespace
LAST = "zz-last"
LEAVES = 0.04  # of what is done to a selected namespace
GOES = 0.4  # of those that leave are deleted
RETURNS = 0.3  # of what is done to a namespace that is not selected


@dataclass
class Place:
    """A namespace. ``periods``: what was changed in it, in order, from one change of its selection to the next; the
    namespace is selected in every second one, beginning with the first. ``since``: when each began (monotonic)."""

    name: str
    there: bool = False
    periods: list[list[Change]] = field(default_factory=list)
    since: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """The next period begins."""
        self.periods.append([])
        self.since.append(time.monotonic())

    def aside(self) -> Callable[[], None]:
        """Keep it as it is. What is returned puts it back, as a restore of etcd does; what follows is a period of its
        own, because all objects are announced again."""
        there, periods, since = self.there, [list(changes) for changes in self.periods], list(self.since)

        def put_back() -> None:
            self.there = there
            self.periods, self.since = [list(changes) for changes in periods], list(since)
            self.turn()
            self.turn()

        return put_back

    @property
    def selected(self) -> bool:
        return len(self.periods) % 2 == 1


@dataclass(frozen=True, kw_only=True)
class NamespaceLoad:
    """``changes`` writes on objects in ``count`` namespaces, ``rate`` a second."""

    seed: int
    count: int = 6
    changes: int = 1500
    rate: float = 60.0

    def places(self) -> list[Place]:
        return [Place(f"ns-{number}") for number in range(self.count)]

    async def prepare(self, namespaces: Writer, places: list[Place]) -> None:
        """Make the namespaces, all of them selected."""
        for place in places:
            await _Hand(place, namespaces).select()

    async def run(self, writer: Writer, namespaces: Writer, places: list[Place], *, longer: Callable[[], bool]) -> None:
        """Make the changes, more of them while ``longer`` says so. At the end there is one in each namespace that is
        selected: what has passed that has seen them all."""
        begun = len(writer.changes)

        async def work(place: Place) -> None:
            rng = random.Random(f"{self.seed}/{place.name}")
            hand = _Hand(place, namespaces)
            while len(writer.changes) - begun < self.changes or longer():
                await asyncio.sleep(rng.uniform(0, 2 * self.count / self.rate))
                draw = rng.random()
                async with writer.turn():
                    if place.selected and draw < LEAVES:
                        await hand.leave(writer, goes=rng.random() < GOES)
                    elif not place.selected and draw < RETURNS:
                        await hand.select()
                    elif place.there:
                        await hand.change(writer, rng)
            if not place.selected:
                await hand.select()
            await touch(writer, place)

        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(work(place))


@dataclass
class _Hand:
    """Does things to one namespace."""

    place: Place
    namespaces: Writer

    async def select(self) -> None:
        begun = time.monotonic()
        if self.place.there:
            await self.namespaces.patch("", self.place.name, {"metadata": {"labels": {"env": "prod"}}})
        else:
            await self.namespaces.create("", self.place.name, {"metadata": {"labels": {"env": "prod"}}})
        self.place.there = True
        self.place.turn()
        self.place.since[-1] = begun

    async def leave(self, writer: Writer, *, goes: bool) -> None:
        """Take the label away, or delete all that is in the namespace, as its controller would, and the namespace."""
        if not goes:
            self.place.turn()
            await self.namespaces.patch("", self.place.name, {"metadata": {"labels": {"env": "test"}}})
            return
        for body in writer.bodies(self.place.name):
            self.place.periods[-1].append(await writer.delete(self.place.name, body["metadata"]["name"]))
        self.place.turn()
        await self.namespaces.delete("", self.place.name)
        await self._finalize()
        self.place.there = False

    async def change(self, writer: Writer, rng: random.Random) -> None:
        name = rng.choice(names())
        if writer.live(self.place.name, name) is None:
            done = await writer.create(self.place.name, name, {"spec": {"n": 0}})
        elif rng.random() < 0.2:
            done = await writer.delete(self.place.name, name)
        else:
            done = await writer.patch(self.place.name, name, {"spec": {"n": rng.randrange(10**6)}})
        self.place.periods[-1].append(done)

    async def _finalize(self) -> None:
        """What the controller of namespaces does in the end; it does not run beside the API server (`servers`)."""
        path = NAMESPACES.path("", self.place.name)
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.place.name},
            "spec": {"finalizers": []},
        }
        while True:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                status, answer = await self.namespaces.api.request("GET", path)
                if status == 404 and isinstance(answer, dict):
                    return
                await self.namespaces.api.request("PUT", f"{path}/finalize", body)
            await asyncio.sleep(0.05)


async def touch(writer: Writer, place: Place) -> None:
    """Change an object of the namespace, whose version is known then."""
    if writer.live(place.name, LAST) is None:
        done = await writer.create(place.name, LAST, {"spec": {}})
    else:
        done = await writer.patch(place.name, LAST, {"spec": {"n": len(writer.changes)}})
    place.periods[-1].append(done)


def names() -> list[str]:
    return [f"wf-{number}" for number in range(OBJECTS)]
