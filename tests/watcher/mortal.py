"""A watcher with a split bus that dies at any await that leaves it, over a model of the API server.

The watcher's own code captures, lists and repairs; what is modeled is the world: objects, their history, a queue that
may take a part of what it is given, a ConfigMap. Every request is two places to die, before and after its effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Literal, cast

import msgspec

from kubecdc.cluster.changes import Change, Page
from kubecdc.cluster.objects import Meta
from kubecdc.cluster.resource import Resource
from kubecdc.cluster.versions import older
from kubecdc.errors import Unavailable
from kubecdc.storage.broker.contract import Outgoing, Results
from kubecdc.storage.broker.publisher import publish
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings
from kubecdc.storage.contracts import Bus, CheckpointStore, Publication, Publisher, Term, TransactionalPublisher
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.split import SplitPublisher
from kubecdc.storage.testing.fault_injection import Crash
from kubecdc.watcher.capture.announced import Announced
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.reasons import EXPIRED
from kubecdc.watcher.capture.relist import relist
from kubecdc.watcher.pipeline import Watch
from kubecdc.watcher.session import Session
from tests.storage.fake_config_map import FakeClock, FakeConfigMaps, settled
from tests.watcher.rig import KEY, NAME, SOURCE, event_source

BATCH = 2  # changes a commit
PAGE = 2  # objects
WORKFLOWS = Resource("argoproj.io", "v1alpha1", "workflows")


class Fuse:
    """Burns down with each place passed; then nothing of this process goes on. ``blown`` is when that was."""

    def __init__(self, hands: FakeClock, places: int = 1 << 30) -> None:
        self._hands = hands
        self._left = places
        self.blown: float | None = None

    def last(self, places: int) -> None:
        """Burn down after so many places more."""
        self._left = places

    def burn(self) -> None:
        self._left -= 1
        if self._left < 0:
            self.end()
            raise Crash

    def end(self) -> None:
        """The process is dead."""
        self._left = 0
        if self.blown is None:
            self.blown = self._hands.now()


@dataclass
class World:
    """Objects by name, and what happened to them. An API server without its network."""

    objects: dict[str, Change] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    version: int = 10
    forgotten: int = 0
    resource: Resource = WORKFLOWS
    cluster: Any = None

    def put(self, name: str, *, shown: bool) -> None:
        """Make it, or change it. What was shown once stays so."""
        known = self.objects.get(name)
        self.version += 1
        uid = known.meta.uid if known else f"uid-{self.version}"
        if shown:
            self.shown.add(uid)
        self.objects[name] = self._happened("MODIFIED" if known else "ADDED", name, uid)

    def to_be_known(self) -> set[str]:
        """The uids that consumers should know of: what is there and passes the filter."""
        return {change.meta.uid for change in self.objects.values()} & self.shown

    def delete(self, name: str) -> None:
        if known := self.objects.pop(name, None):
            self.version += 1
            self._happened("DELETED", name, known.meta.uid)

    def forget(self) -> None:
        """All history expires."""
        self.forgotten = self.version

    def _happened(self, type_: str, name: str, uid: str) -> Change:
        meta = Meta(name=name, namespace="default", uid=uid, resource_version=str(self.version))
        body = {"metadata": {"name": name, "uid": uid}, "spec": {"shown": uid in self.shown}}
        change = Change(type_, meta, msgspec.json.encode(body))
        self.history.append(change)
        return change

    async def page(self, limit: int, after: str = "", *, most_bytes: int | None = None) -> Page:
        """A page of a list of this moment: nobody changes anything between two pages."""
        items = [self.objects[name]._replace(type="ADDED") for name in sorted(self.objects)]
        start = int(after or 0)
        end = start + PAGE
        following = str(end) if end < len(items) else ""
        return Page("Workflow", str(self.version), following, items[start:end], 100)

    def since(self, position: str) -> list[Change]:
        return [change for change in self.history if older(position, change.meta.resource_version)]


Mishap = Literal["fine", "throttled", "first only", "last only", "reply lost"]


@dataclass
class Queue:
    """A `Publisher` over a broker that takes two events a call, and may die with a part of it done.

    ``told`` is every event and when it came; ``mishaps`` are what becomes of the next calls.
    """

    hands: FakeClock
    told: list[tuple[Event, float]] = field(default_factory=list)
    step: Callable[[], None] = lambda: None
    mishaps: Iterator[Mishap] = field(default_factory=lambda: iter(()))
    most, most_bytes, whole_lanes, parallel, seconds = 2, 1 << 20, False, 1, 1.0

    async def publish(self, publication: Publication) -> None:
        messages = [Outgoing("", index, event.partitionkey, 1, event) for index, event in enumerate(publication.events)]
        await publish(publication, messages, self)

    async def send(self, target: str, messages: Sequence[Outgoing]) -> Results:
        mishap = next(self.mishaps, "fine")
        await asyncio.sleep(0)
        self.step()
        if mishap == "throttled":
            raise Unavailable("throttled")
        taken = {"first only": messages[:1], "last only": messages[-1:]}.get(mishap, messages)
        for message in taken:
            self.told.append((message.form, self.hands.now()))
            await asyncio.sleep(0)
            self.step()
        if mishap == "reply lost":
            raise Unavailable("no reply")
        return [None if message in taken else Unavailable("throttled") for message in messages]

    def fit(self, event: Event) -> Event:
        return event

    def known(self) -> dict[str, float]:
        """The uids that consumers believe to exist, and when they first heard of each."""
        known: dict[str, float] = {}
        for event, time in self.told:
            _, uid, _, action = event.id.split(".")[:4]
            if action == "DELETE":
                known.pop(uid, None)
            else:
                known.setdefault(uid, time)
        return known


Commits = Callable[[Publisher, CheckpointStore], TransactionalPublisher]


@dataclass
class Life:
    """Capture all there is to capture; hand over, as a process does that ends in order."""

    capture: Callable[[], Awaitable[None]]
    hand_over: Callable[[], Awaitable[None]]


class Mortal:
    """One watcher after another, each with the term after the last."""

    def __init__(self, window: float, commits: Commits = SplitPublisher) -> None:
        self.world = World()
        self.hands = FakeClock()
        self.shelf = FakeConfigMaps()
        self.queue = Queue(self.hands)
        self.settings = ConfigMapSettings(window=timedelta(seconds=window))
        self.commits = commits
        self.term = 0

    @asynccontextmanager
    async def life(self, fuse: Fuse) -> AsyncIterator[Life]:
        """A process. Its end is no hand-over."""
        self.term += 1
        term = Term(self.term, f"life-{self.term}")
        self.shelf.before = self.shelf.after = self.queue.step = fuse.burn
        async with AsyncExitStack() as stack:
            store = ConfigMapCheckpoints(self.shelf, self.settings, now=self.hands.now, sleep=self.hands.sleep)
            stack.push_async_callback(store.close)
            bus = cast(Bus, SimpleNamespace(checkpoints=store, publisher=self.commits(self.queue, store)))
            manifest = event_source(filter={"fields": [{"key": "spec.shown", "value": "true"}]}).spec.resource[NAME]
            entry = Entry(SOURCE, NAME, manifest, namespace="", key=KEY, max_event_bytes=1 << 20)
            session = Session(cast(Any, None), bus, term)
            watch = Watch(session, entry, cast(Any, self.world))
            writer: CheckpointWriter | None = None

            async def capture() -> None:
                nonlocal writer
                if fuse.blown is not None:
                    raise Crash
                if writer is None:
                    writer = await CheckpointWriter.open(session, entry, cluster="c")
                reason = writer.state.listing
                if not reason and int(writer.state.position) < self.world.forgotten:
                    reason = EXPIRED
                if reason:
                    await relist(writer, cast(Any, self.world), reason, Announced(), Memory())
                changes = self.world.since(writer.state.position)
                for start in range(0, len(changes), BATCH):
                    await writer.commit_prepared(await watch.batcher.prepare(writer, changes[start : start + BATCH]))

            try:
                yield Life(capture, store.flush)
            finally:
                fuse.end()  # what is not written by now is lost
                if store._sync._timer:
                    store._sync._timer.cancel()
                    with suppress(BaseException):
                        await store._sync._timer
                store._sync._pending_since = None

    async def live(self, script: Sequence[str], places: Sequence[int]) -> list[float]:
        """Go through the script and die after each number of places; whoever comes next goes on.

        Returns when they died. At the end one more watcher comes, which finds no history and sees what is there.
        """
        rest, deaths = list(script), list[float]()
        while True:
            fuse = Fuse(self.hands, *places[len(deaths) :][:1])
            try:
                async with self.life(fuse) as life:
                    await life.capture()
                    while rest:
                        await self._act(rest.pop(0), life)
                        if fuse.blown is not None:
                            raise Crash
                    await life.hand_over()
                    break
            except Crash:
                assert fuse.blown is not None
                deaths.append(fuse.blown)
                # The world goes on while nobody watches, and then forgets.
                while rest and rest[0] != "watch":
                    action = rest.pop(0)
                    if not action.startswith("wait"):
                        await self._act(action, None)
                self.world.forget()
        self.world.forget()
        async with self.life(Fuse(self.hands)) as life:
            await life.capture()
        return deaths

    async def _act(self, action: str, life: Life | None) -> None:
        verb, _, what = action.partition(" ")
        match verb:
            case "put" | "hide":
                self.world.put(what, shown=verb == "put")
            case "delete":
                self.world.delete(what)
            case "forget":
                self.world.forget()
            case "wait":
                await self.hands.move(float(what))
            case "watch" if life:
                await life.capture()
        await settled()
