"""A watcher on a simulated API server and a SQLite bus, in this process, for tests that look at every step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.recorder import Recorder
from kubecdc.current import Current
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.fault_injection import Fault, FaultyBus, Script
from kubecdc.watcher import watcher
from kubecdc.watcher.manifest import Entries, EventSource, entries_of
from tests.apiserver import WORKFLOWS, LocalSimulator, workflow
from tests.exported import REGISTRY

SOURCE, NAME = "workflows", "changed"
KEY = f"{SOURCE}/{NAME}"
SPEC = SubscriptionSpec("test/all", SOURCE, NAME)
MARKER = "zz-marker-"


def event_source(**entry: Any) -> EventSource:
    """An EventSource with one entry on all workflows, all event types; override what matters."""
    given = {
        "group": "argoproj.io",
        "version": "v1alpha1",
        "resource": "workflows",
        "eventTypes": ["ADD", "UPDATE", "DELETE"],
        **entry,
    }
    return EventSource.model_validate(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "EventSource",
            "metadata": {"name": SOURCE},
            "spec": {"resource": {NAME: given}},
        }
    )


@dataclass
class Rig:
    """`start` and `kill` the watcher as often as you like; the bus file and the API server stay."""

    api: LocalSimulator
    path: Path
    kubeconfig: Path
    wrap: Callable[[Bus], Bus] = lambda bus: bus
    settings: dict[str, Any] = field(default_factory=dict)
    bus: Bus | None = None
    task: asyncio.Task[None] | None = None
    markers: int = 0
    entries: Current[Entries] = field(default_factory=lambda: Current({}))

    async def open(self) -> Bus:
        if self.bus is None:
            settings = SqliteSettings(self.path, ack_wait=timedelta(seconds=30), **self.settings)
            self.bus = await open_bus(settings, holder="rig")
        return self.bus

    async def start(self, source: EventSource | None = None, *, register: bool = True) -> None:
        """Run the watcher, as `kubecdc watch` does."""
        bus = await self.open()
        if register:
            await bus.register([SPEC])
        self.reload(source or event_source())
        self.task = asyncio.create_task(self._run())

    def reload(self, *sources: EventSource) -> None:
        """From now on, these are in the manifests, and no others."""
        self.entries.replace(entries_of(sources))

    async def _run(self) -> None:
        assert self.bus is not None
        async with Cluster(str(self.kubeconfig)) as cluster:

            async def connect() -> Cluster:
                return cluster

            recorder = Recorder(connect, "default")
            writing = asyncio.create_task(recorder.run())
            try:
                await watcher.run(self.wrap(self.bus), self.entries, cluster, recorder=recorder)
            finally:
                writing.cancel()

    async def ended(self) -> BaseException:
        """Wait for the watcher to end by an error, and return it (the first of a group)."""
        assert self.task is not None
        with suppress(BaseException):
            await asyncio.wait_for(asyncio.shield(self.task), 10)
        error = self.task.exception()
        assert error is not None
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return error

    async def kill(self) -> None:
        """End the watcher wherever it is. What it had handed to the bus is either done or not."""
        if self.task is not None:
            self.task.cancel()
            with suppress(BaseException):
                await self.task
            self.task = None
        if self.bus is not None:
            await self.bus.close()
            self.bus = None

    async def create(self, name: str, namespace: str = "default", **more: Any) -> dict[str, Any]:
        return await self.api.create(*WORKFLOWS, namespace, workflow(name, **more))

    async def reported(self, namespace: str = "default") -> list[dict[str, Any]]:
        """The Kubernetes Events of kubecdc, once there are some."""
        found: list[dict[str, Any]] = []

        async def some() -> bool:
            found[:] = (await self.api.list("", "v1", "events", namespace))["items"]
            return bool(found)

        await self.until(some)
        return found

    async def update(self, name: str, patch: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
        return await self.api.patch(*WORKFLOWS, namespace, name, patch)

    async def delete(self, name: str, namespace: str = "default") -> dict[str, Any]:
        return await self.api.delete(*WORKFLOWS, namespace, name)

    async def events(self, marker_labels: dict[str, str] | None = None, **marker: Any) -> list[Event]:
        """All events since the last call: a marker is created, and what came before it is returned, in order."""
        self.markers += 1
        name = f"{MARKER}{self.markers}"
        await self.create(name, labels=marker_labels, **marker)
        found: list[Event] = []
        bus = await self.open()
        marked = False
        async with asyncio.timeout(60):
            async for delivery in bus.subscription(SPEC.name, prefetch=1).deliveries():
                event = delivery.event
                await delivery.ack()
                marked = marked or event.partitionkey.endswith(name)
                if MARKER not in event.partitionkey:
                    found.append(event)
                # A list is in the order of names, so the marker need not be the last of its page.
                if marked and await self._told_all(bus):
                    return found
        raise AssertionError("unreachable")

    async def _told_all(self, bus: Bus) -> bool:
        """Whether nothing is pending; a list that is under way is waited for, for deletions come at its end."""
        while True:
            listing = any(c.state and c.state.listing for c in await self.wrap(bus).checkpoints.checkpoints())
            if any(s.pending for s in await bus.subscriptions() if s.spec == SPEC):
                return False
            if not listing:
                return True
            await asyncio.sleep(0.005)

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
        """Wait for a condition of the store or the server."""
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - the condition is another process's, or the store's
                await asyncio.sleep(0.01)

    async def watching(self) -> None:
        """Wait until the watch is open: the list before it is committed."""

        async def open_() -> bool:
            return self.api.watching > 0

        await self.until(open_)


@asynccontextmanager
async def rig(api: LocalSimulator, folder: Path, **settings: Any) -> AsyncIterator[Rig]:
    made = Rig(api, folder / "bus.db", api.kubeconfig(folder / "kubeconfig"), settings=settings)
    try:
        yield made
    finally:
        await made.kill()


def told(events: list[Event]) -> list[str]:
    """Events in short: ``ADD a``, and ``~DELETE b`` for a synthetic one."""
    return [f"{'~' if e.synthetic else ''}{data(e)['type']} {e.partitionkey.rsplit('/', 1)[1]}" for e in events]


def data(event: Event) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(event.data)
    return decoded


def counted(reason: str, watch: str = KEY) -> tuple[float, float]:
    """How many gaps were alarming, and how many routine."""
    labels = {"watch": watch, "reason": reason}
    alarming, routine = (
        REGISTRY.get_sample_value(f"{name}_total", labels) or 0.0 for name in ("kubecdc_gaps", "kubecdc_routine_gaps")
    )
    return alarming, routine


def faulty(*faults: Fault | None) -> Callable[[Bus], Bus]:
    """For `Rig.wrap`: a bus whose commits suffer these faults, one after the other, over all restarts."""
    script = Script(faults)
    return lambda bus: FaultyBus(bus, commits=script)


def announced_once(events: list[Event]) -> None:
    """No id stands for two announcements, and in no lane do timeline and sequence go back."""
    ids = [event.id for event in events]
    assert len(set(ids)) == len(ids), f"an id comes again: {sorted(ids)}"
    last: dict[str, tuple[int, str]] = {}
    for event in events:
        now = event.timeline, event.sequence
        assert now >= last.get(event.partitionkey, now), f"{event.id} goes back from {last[event.partitionkey]}"
        last[event.partitionkey] = now


async def believed(bench: Rig, events: list[Event]) -> None:
    """Whoever applies the events in order knows exactly what is there, and nothing was told out of turn."""
    known: dict[str, dict[str, str]] = {}
    sequences: dict[str, str] = {}
    for event in events:
        change, lane = data(event)["type"], event.partitionkey
        uid = event.id.split(".")[1]
        assert event.sequence >= sequences.get(lane, ""), f"{event.id} is out of order"
        sequences[lane] = event.sequence
        held = known.setdefault(lane, {})
        if change == "DELETE":
            assert held.pop(uid, None) is not None, f"{event.id} ends what was never told"
        else:
            assert set(held) <= {uid}, f"{event.id} comes before the end of {set(held)}"
            held[uid] = event.id.split(".")[2]
    listed = (await bench.api.list(*WORKFLOWS))["items"]
    there = {
        o["metadata"]["uid"]: o["metadata"]["resourceVersion"] for o in listed if MARKER not in o["metadata"]["name"]
    }
    assert {uid: rv for held in known.values() for uid, rv in held.items()} == there
