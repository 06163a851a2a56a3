"""What is half met: the events that a trigger's conditions have so far, in the state store, shared by all workers.

Each event changes the state once, by compare-and-set, before it is acked. The one that completes the conditions takes
all others out of the state, into a set of its own. It stays unacked until the trigger has had that set. So a worker
that dies leaves it to the next one, which finds the set by the event's id and repeats it under the same idempotency
key.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from weakref import WeakValueDictionary

import msgspec

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import StateChange, StateEntry, StateStore
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.shared_state import change
from kubecdc.workers.conditions.expression import Expression
from kubecdc.workers.conditions.resets import Resets

Set = Mapping[str, Event]
"""The events that a trigger fires for, by dependency."""

Hold = Callable[[], Awaitable[None]]
"""Makes sure that no other worker has the event by now. Raises ClaimLost, Unavailable."""

ALWAYS = timedelta(days=365)
CONFLICTS = 20  # in a row, each with another worker
MOST_SEEN = 5000  # ids of a key; more are not in flight


class Held(msgspec.Struct, frozen=True):
    """The last event of a dependency. ``of`` is the print of the dependency, ``at`` seconds since 1970."""

    event: Event
    of: str
    at: float


class _HalfMet(msgspec.Struct):
    """``seen`` are the events that were taken into account and are perhaps not acked, True if it completed a set."""

    held: dict[str, Held] = {}
    seen: dict[str, bool] = {}


_decoder, _set_decoder = msgspec.json.Decoder(_HalfMet), msgspec.json.Decoder(dict[str, Event])
_encoder = msgspec.json.Encoder()


class HalfMet:
    """The state of one trigger, for events that are not enough alone. ``scope`` is its name in the state store.

    ``prints`` tell the dependencies apart from what they were before the Sensor was changed: events of another print
    are forgotten. With ``ttl``, an event counts for that long, and each key is for itself. ``now`` gives seconds since
    1970.
    """

    def __init__(
        self,
        state: StateStore,
        scope: str,
        expression: Expression,
        prints: Mapping[str, str],
        *,
        now: Callable[[], float],
        resets: Resets | None = None,
        ttl: timedelta | None = None,
    ) -> None:
        self._state = state
        self._scope = scope
        self._expression = expression
        self._prints = prints
        self._resets = resets or Resets()
        self._ttl = ttl
        self._now = now
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._acked: dict[str, None] = {}

    async def complete(self, dependency: str, event: Event, key: str = "", hold: Hold | None = None) -> Set | None:
        """Take the event into account. Returns the set that it completes, None if the rest is still missing.

        Repeating it for an event changes nothing, until it is acked: ``hold`` is called before each change, so that a
        worker that was stopped for a while takes no event into account that another one has acked. Raises Unavailable,
        and what ``hold`` raises.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            return await self._complete(dependency, event, key, hold)

    async def fired(self, dependency: str, event: Event, key: str = "") -> None:
        """Forget the set that the event completed, before the event is acked. Raises Unavailable."""
        place = _place(dependency, event)
        if found := await self._state.get(self._scope, place):
            with suppress(StateConflict):
                await self._state.delete(self._scope, place, version=found.version)

    async def acked(self, dependency: str, event: Event, key: str = "", *, completed: bool) -> None:
        """The event is acked and does not come again. What is kept of it goes now or with the next change."""
        place = _place(dependency, event)
        if not self._ttl:
            self._acked[place] = None
        elif completed:  # nothing else may ever happen under this key
            with suppress(Unavailable):  # then a few bytes stay
                await self._settled(key, place)

    async def _complete(self, dependency: str, event: Event, key: str, hold: Hold | None) -> Set | None:
        place = _place(dependency, event)
        stored = False
        for _ in range(CONFLICTS):
            entry = await self._state.get(self._scope, _key(key))
            known = self._read(entry)
            if (completing := known.seen.get(place)) is not None:
                return await self._set(place) if completing else None
            known.held[dependency] = Held(event, self._prints[dependency], self._now())
            found = {name: held.event for name, held in known.held.items()}
            completing = self._expression.met(found.keys())
            if completing:
                known.held.clear()
                await self._keep(place, found)
                stored = True
            removed = list(self._acked)
            kept = {seen: owed for seen, owed in known.seen.items() if seen not in self._acked}
            known.seen = _bounded({**kept, place: completing})
            if hold:
                await hold()
            try:
                await self._state.put(self._scope, _key(key), self._change(known, entry))
            except StateConflict:
                continue
            for one in removed:
                self._acked.pop(one, None)
            if not completing and stored:
                await self.fired(dependency, event)  # another worker was first with those events
            return found if completing else None
        raise Unavailable(f"other workers keep changing the conditions of {self._scope!r}")

    async def _keep(self, place: str, found: Set) -> None:
        value = _encoder.encode(found)
        await change(self._state, self._scope, place, lambda _: value, ttl=ALWAYS)

    async def _set(self, place: str) -> Set | None:
        """The set that an event completed; None if the trigger has had it."""
        entry = await self._state.get(self._scope, place)
        return _set_decoder.decode(entry.value) if entry else None

    async def _settled(self, key: str, place: str) -> None:
        """The set of the event is owed no more: what is kept under the key expires. That the event was seen stays until
        then, in case it is delivered again."""
        for _ in range(CONFLICTS):
            entry = await self._state.get(self._scope, _key(key))
            if entry is None:
                return
            known = self._read(entry)
            if not known.seen.get(place):
                return
            known.seen[place] = False
            try:
                await self._state.put(self._scope, _key(key), self._change(known, entry))
            except StateConflict:
                continue
            return

    def _read(self, entry: StateEntry | None) -> _HalfMet:
        """What is stored, without what does not count any more."""
        if entry is None:
            return _HalfMet({}, {})
        known = _decoder.decode(entry.value)
        now = self._now()
        since = max(self._resets.last(now), now - self._ttl.total_seconds() if self._ttl else float("-inf"))
        known.held = {
            name: held for name, held in known.held.items() if held.of == self._prints.get(name) and held.at >= since
        }
        return known

    def _change(self, known: _HalfMet, entry: StateEntry | None) -> StateChange:
        ttl = ALWAYS if self._ttl is None or any(known.seen.values()) else self._ttl
        return StateChange(value=_encoder.encode(known), ttl=ttl, follows=entry.version if entry else "")


def _bounded(seen: dict[str, bool]) -> dict[str, bool]:
    """Without the oldest, if they are too many. What completed a set that is owed stays."""
    settled = [place for place, owed in seen.items() if not owed]
    surplus = set(settled[: max(0, len(seen) - MOST_SEEN)])
    return {place: owed for place, owed in seen.items() if place not in surplus} if surplus else seen


def _place(dependency: str, event: Event) -> str:
    """What tells the event apart from all others, and from itself as an event of another dependency."""
    return f"set/{dependency}/{event.source}/{event.id}"


def _key(key: str) -> str:
    return f"met/{key}" if len(key) <= 200 and key.isprintable() else f"met/{hashlib.sha256(key.encode()).hexdigest()}"
