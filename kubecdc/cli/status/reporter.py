"""Tells the other processes, and `kubecdc status`, how this one is: a small record in the state of the bus.

Never in the way of an event: it is written every few seconds, a bus that is away misses it, and it expires if nobody
writes it again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import msgspec

from kubecdc import __version__, facts
from kubecdc.cli.status.record import (
    ENDED,
    KEPT,
    LAST_WORDS,
    LEADER,
    LIVES,
    NOTES,
    PERIOD_SECONDS,
    PROCESSES,
    Ended,
    Leader,
    Process,
    Source,
    Subscription,
    keeps,
)
from kubecdc.errors import KubecdcError, most_relevant
from kubecdc.facts import MOST, Trouble
from kubecdc.reasons import one_line
from kubecdc.storage.contracts import Bus, StateChange, StateConflict
from kubecdc.storage.shared_state import change
from kubecdc.watcher import metrics as watcher
from kubecdc.watcher.manifest import entry_of

LOOK_SECONDS = 2.0  # between two looks at whether anything but a number has changed
RATE_SAMPLES = 7  # over so many looks at the counters, a period apart: the rate of the last minute


class Reporter:
    """Reports for one bus. ``wall`` has the seconds since 1970, ``now`` is a monotonic clock.

    ``entries`` and ``subscriptions`` return the names of those that this process watches and works for now.
    """

    def __init__(
        self,
        name: str,
        bus: Bus,
        holder: str,
        *,
        entries: Callable[[], Iterable[str]] = tuple,
        subscriptions: Callable[[], Iterable[str]] = tuple,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._bus = bus
        self._holder = holder
        self._given = entries, subscriptions
        self._wall = wall
        self._now = now
        self._started = wall()
        self._counted: deque[tuple[float, Mapping[tuple[str, str], float]]] = deque(maxlen=RATE_SAMPLES)
        self._version = ""  # of what is in the state
        self._told: object = None  # of the last report, what is not a number
        self._due = 0.0
        self._led = False

    @property
    def _entries(self) -> frozenset[str]:
        return frozenset(self._given[0]())

    @property
    def _subscriptions(self) -> frozenset[str]:
        return frozenset(self._given[1]())

    async def keep(self) -> None:
        """Report again and again. Never returns; withdraws the report when it is cancelled."""
        if not keeps(self._bus):
            await asyncio.Event().wait()
        try:
            while True:
                with suppress(KubecdcError):  # those who need the bus tell of it
                    await self.report()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            with suppress(KubecdcError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._bus.state.delete(PROCESSES, self._holder, version=self._version)

    async def report(self) -> None:
        """Write what has changed, and what is due. Raises Unavailable."""
        now = self._now()
        if due := now >= self._due:
            self._counted.append((now, self._counts()))
        process = self.process()
        told = _without_numbers(process)
        if not due and told == self._told:
            return
        if process.leads and not self._led:
            note = msgspec.json.encode(Leader(self._holder, process.at))
            await change(self._bus.state, NOTES, LEADER, lambda _: note, ttl=KEPT)
        self._led = process.leads
        await self._put(msgspec.json.encode(process))
        self._told, self._due = told, now + PERIOD_SECONDS

    async def last_words(self, error: BaseException) -> None:
        """Tell why this process ends by itself. Raises nothing."""
        found = most_relevant(error)
        words = Ended(
            self._holder,
            self._wall(),
            one_line(str(found) or type(found).__name__, MOST),
            one_line(str(getattr(found, "hint", "")), MOST),
            bool(self._entries),
            bool(self._subscriptions),
        )
        if keeps(self._bus):
            with suppress(KubecdcError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await change(self._bus.state, NOTES, ENDED, lambda _: msgspec.json.encode(words), ttl=LAST_WORDS)

    async def _put(self, value: bytes) -> None:
        """In one round trip, unless the value that was put last has expired."""
        put = StateChange(value=value, ttl=LIVES, follows=self._version)
        try:
            await self._bus.state.put(PROCESSES, self._holder, put)
            self._version = put.token
        except StateConflict:
            found = await change(self._bus.state, PROCESSES, self._holder, lambda _: value, ttl=LIVES)
            self._version = found.version if found else ""

    def process(self) -> Process:
        """How this process is now."""
        troubles = facts.troubles.now()
        return Process(
            self._holder,
            self._wall(),
            self._started,
            __version__,
            bool(self._entries),
            bool(self._subscriptions),
            self._name in watcher.leading,
            self._sources(troubles) if self._entries else {},
            self._triggers(),
            {name: trouble for name, trouble in troubles.items() if "/" not in _subject(name)},
        )

    def _sources(self, troubles: Mapping[str, Trouble]) -> dict[str, Source]:
        watches: defaultdict[str, list[facts.Watch]] = defaultdict(list)
        for key, watch in facts.watches.now().items():
            watches[entry_of(key)].append(watch)
        worst: dict[str, Trouble] = {}
        for name, trouble in troubles.items():
            entry = entry_of(_subject(name))
            if trouble.since < worst.setdefault(entry, trouble).since:
                worst[entry] = trouble
        found: dict[str, Source] = {}
        for entry in self._entries & (watches.keys() | worst.keys()):
            own = watches[entry]
            audits = [watch.audit for watch in own if watch.audit]
            found[entry] = Source(
                len(own),
                round(max((watch.behind for watch in own), default=0.0), 1),
                self._rate("entry", entry),
                max(audits, key=lambda audit: (audit.result != "clean", audit.time), default=None),
                worst.get(entry),
            )
        return found

    def _triggers(self) -> dict[str, Subscription]:
        own = self._subscriptions
        return {
            name: Subscription(
                self._rate("subscription", name), trigger.failed, trigger.breaker, trigger.paused, trigger.locked
            )
            for name, trigger in facts.triggers.now().items()
            if name in own
        }

    def _counts(self) -> Mapping[tuple[str, str], float]:
        """What has been counted of each entry and each subscription."""
        counts: defaultdict[tuple[str, str], float] = defaultdict(float)
        for key, watch in facts.watches.now().items():
            counts["entry", entry_of(key)] += watch.events
        for name, trigger in facts.triggers.now().items():
            counts["subscription", name] += trigger.done
        return counts

    def _rate(self, *what: str) -> float | None:
        """A second, in the last minute; None if it has not been counted for long enough."""
        if len(self._counted) < 2:
            return None
        (began, before), (ended, after) = self._counted[0], self._counted[-1]
        key = what[0], what[1]
        if key not in before or ended <= began:
            return None
        return float(f"{max(0.0, after.get(key, 0.0) - before[key]) / (ended - began):.2g}")


def _subject(name: str) -> str:
    """What a trouble is about: its name may end with words, as `source/entry (commit)`."""
    return name.partition(" ")[0]


def _without_numbers(process: Process) -> object:
    """What is written at once when it changes."""
    sources = {name: (source.trouble, source.behind > 0) for name, source in process.sources.items()}
    own = {name: (each.breaker is None, each.failed, each.paused) for name, each in process.subscriptions.items()}
    return process.leads, sources, own, process.troubles
