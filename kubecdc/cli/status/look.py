"""One look at a bus: everything that `kubecdc status` judges, read at once and within a few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import msgspec

from kubecdc.cli.buses import subscriptions_of
from kubecdc.cli.manifests.loading import Manifests
from kubecdc.cli.status.lease import Lead
from kubecdc.cli.status.record import ENDED, LEADER, NOTES, PROCESSES, Ended, Leader, Process, keeps
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts import Bus, Checkpoint, DeadLetter, Gap, StateChange, SubscriptionStatus
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.pauses import paused
from kubecdc.watcher.manifest import entries_of, entry_of

ANSWER_SECONDS = 5.0
TOGETHER = 20  # reads of one kind under way at a time
LETTERS = 20  # subscriptions whose oldest dead letter is read
T = TypeVar("T")
R = TypeVar("R")
Lease = Callable[[EventBus], Awaitable[Lead | None]]


@dataclass(frozen=True)
class Found:
    """What was found. What could not be read, and why, is in ``unknown``; ``at`` is the time here (Unix time).

    ``processes`` is None where none can report, because the bus keeps no state that takes it. ``unwritable`` is why
    none can, although the bus can be read; it is asked only if there is no report. ``lead`` is what the Lease says; it
    is read only where none can report.
    """

    manifest: EventBus
    manifests: Manifests
    at: float
    statuses: Sequence[SubscriptionStatus] = ()
    checkpoints: Sequence[Checkpoint] = ()
    gaps: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    letters: Mapping[str, DeadLetter] = field(default_factory=dict)
    processes: Sequence[Process] | None = None
    leader: Leader | None = None
    ended: Ended | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    unwritable: str = ""
    lead: Lead | None = None

    @property
    def entries(self) -> list[str]:
        """The entries that the manifests have on this bus, as `<EventSource>/<entry>`.

        Where some manifests were left out, those that are watched count too.
        """
        name = self.manifest.name
        own = list(entries_of(s for s in self.manifests.sources.values() if s.spec.event_bus_name == name))
        watched = [entry for process in self.processes or () if self.manifests.problems for entry in process.sources]
        return list(dict.fromkeys([*own, *watched]))

    @property
    def named(self) -> frozenset[str]:
        """The subscriptions that the manifests have on this bus."""
        return frozenset(spec.name for spec in subscriptions_of(self.manifests, self.manifest))


async def within_seconds(call: Awaitable[T], seconds: float = ANSWER_SECONDS) -> T:
    """The result; Unavailable if there is none in time. What hangs, even when it is cancelled, is left behind."""
    task = asyncio.ensure_future(call)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # also if nobody waits any more
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    raise Unavailable(f"the bus has not answered within {seconds:g} s", hint="check that it is up, and reachable here")


async def no_lease(_: EventBus) -> Lead | None:
    """No Lease is read."""
    return None


async def look(
    bus: Bus, manifest: EventBus, manifests: Manifests, now: Callable[[], float], lease: Lease = no_lease
) -> Found:
    """Look at an open bus. Raises Unavailable, Refused if it does not answer."""
    unknown: dict[str, str] = {}

    async def part(name: str, call: Awaitable[T], otherwise: T) -> T:
        try:
            return await call
        except KubecdcError as e:
            unknown[name] = str(e)
            return otherwise

    statuses, (checkpoints, gaps), pauses, processes, (leader, ended), lead = await asyncio.gather(
        bus.subscriptions(),
        part("checkpoints", _checkpoints(bus), ([], {})),
        part("paused", paused(bus), frozenset()),
        part("processes", _processes(bus), None),
        asyncio.gather(part("leader", _note(bus, LEADER, Leader), None), part("ended", _note(bus, ENDED, Ended), None)),
        part("lease", no_lease(manifest) if keeps(bus) else lease(manifest), None),
    )
    letters = await part("dead letters", _letters(bus, statuses), {})
    return Found(
        manifest,
        manifests,
        now(),
        statuses,
        checkpoints,
        gaps,
        pauses,
        letters,
        processes,
        leader,
        ended,
        unknown,
        unwritable=await _unwritable(bus) if processes == [] else "",
        lead=lead,
    )


async def _checkpoints(bus: Bus) -> tuple[Sequence[Checkpoint], Mapping[str, Sequence[Gap]]]:
    checkpoints = await bus.checkpoints.checkpoints()
    keys = [checkpoint.key for checkpoint in checkpoints]
    entries = {entry_of(key) for key in keys}  # they have the gaps of namespaces that are gone
    wanted = [*keys, *(entries - set(keys))]
    return checkpoints, dict(zip(wanted, await _each(wanted, bus.checkpoints.gaps), strict=True))


async def _processes(bus: Bus) -> Sequence[Process] | None:
    if not keeps(bus):
        return None
    holders = sorted(await bus.state.keys(PROCESSES))
    found = await _each(holders, lambda holder: _read(bus, PROCESSES, holder, Process))
    return [process for process in found if process is not None]


async def _unwritable(bus: Bus) -> str:
    """Why the bus takes no value now: a disk or a memory that is full, for example. "" if it does."""
    try:
        probe = StateChange(value=b"", ttl=timedelta(seconds=1))
        await bus.state.put(NOTES, f"probe {probe.token}", probe)
    except Unavailable as e:
        return str(e)
    except KubecdcError:  # of a user who may not write
        return ""
    return ""


async def _note(bus: Bus, key: str, type_: type[R]) -> R | None:
    return await _read(bus, NOTES, key, type_) if keeps(bus) else None


async def _read(bus: Bus, scope: str, key: str, type_: type[R]) -> R | None:
    """None if it has expired, or another version has written it in a way that this one does not know."""
    entry = await bus.state.get(scope, key)
    try:
        return msgspec.json.decode(entry.value, type=type_) if entry else None
    except msgspec.MsgspecError:
        return None


async def _letters(bus: Bus, statuses: Sequence[SubscriptionStatus]) -> Mapping[str, DeadLetter]:
    """The oldest dead letter of each subscription that has some."""
    if not bus.capabilities.dead_letter_browse:
        return {}
    names = [s.spec.name for s in statuses if isinstance(s.dead_letters, int) and s.dead_letters][:LETTERS]
    pages = await _each(names, lambda name: bus.dead_letters.page(name, limit=1))
    return {name: page[0] for name, page in zip(names, pages, strict=True) if page}


async def _each(items: Sequence[str], call: Callable[[str], Awaitable[T]]) -> list[T]:
    found: list[T] = []
    for start in range(0, len(items), TOGETHER):
        found += await asyncio.gather(*(call(item) for item in items[start : start + TOGETHER]))
    return found


class Looks:
    """Looks at one bus, which stays open in between while it answers. ``open_`` opens it, ``lease`` reads its Lease."""

    def __init__(
        self,
        manifest: EventBus,
        manifests: Manifests,
        open_: Callable[[EventBus], AbstractAsyncContextManager[Bus]],
        now: Callable[[], float],
        seconds: float = ANSWER_SECONDS,
        lease: Lease = no_lease,
    ) -> None:
        self.manifest = manifest
        self._manifests = manifests
        self._open = open_
        self._now = now
        self._seconds = seconds
        self._lease = lease
        self._stack: AsyncExitStack | None = None
        self._bus: Bus | None = None

    async def look(self) -> Found | KubecdcError:
        """What is found, or why the bus does not tell."""
        try:
            return await within_seconds(self._look(), self._seconds)
        except KubecdcError as e:
            await self.close()
            return e

    async def _look(self) -> Found:
        bus = self._bus
        if bus is None:
            self._stack = AsyncExitStack()
            bus = self._bus = await self._stack.enter_async_context(self._open(self.manifest))
        return await look(bus, self.manifest, self._manifests, self._now, self._lease)

    async def close(self) -> None:
        """Close the bus, within a moment. It is opened again by the next look."""
        stack, self._stack, self._bus = self._stack, None, None
        if stack is not None:
            try:
                await within_seconds(stack.aclose(), 1.0)
            except KubecdcError:
                return
