"""Half-met conditions: the events that a trigger's conditions have so far, in the state store, shared by all workers.

Each event changes the state once, by compare-and-set, before it is acked. After the ack it is forgotten: with the
change of the next event, or with one of its own if none follows. The one that completes the conditions takes all
others out of the state, into a set of its own. It stays unacked until the trigger has had that set. So a worker that
dies leaves it to the next one, which finds the set by the event's id and repeats it under the same idempotency key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from weakref import WeakValueDictionary

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import StateEntry, StateStore
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption.codec import CLEAR, Codec
from kubecdc.storage.shared_state import change
from kubecdc.workers.conditions.expression import Expression
from kubecdc.workers.conditions.kept import Kept, kept, settled
from kubecdc.workers.conditions.resets import Resets
from kubecdc.workers.conditions.stored import ALWAYS, CONFLICTS, Held, Owed, Record, Set, name_of_key, name_of_set

Hold = Callable[[], Awaitable[None]]
"""Makes sure that no other worker has the event by now. Raises ClaimLost, Unavailable."""

MOST_SEEN = 5000  # ids of a key; more are not in flight


class HalfMet:
    """The state of one trigger, for events that are not enough alone. ``scope`` is its name in the state store.

    ``prints`` tell the dependencies apart from what they were before the Sensor was changed: events of another print
    are forgotten. With ``ttl``, an event counts for that long, and each key is for itself. ``now`` gives seconds since
    1970. ``codec`` seals the events that are kept.
    """

    def __init__(
        self,
        state: StateStore,
        scope: str,
        expression: Expression,
        prints: Mapping[str, str],
        *,
        now: Callable[[], float],
        codec: Codec = CLEAR,
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
        self._codec = codec
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._acked: set[str] = set()

    async def complete(self, dependency: str, event: Event, key: str = "", hold: Hold | None = None) -> Set | None:
        """Take the event into account. Returns the set that it completes, None if the rest is still missing.

        Repeating it for an event changes nothing, until it is acked: ``hold`` is called before each change, so that a
        worker that was stopped for a while takes no event into account that another one has acked. Raises Unavailable,
        which Locked is, and what ``hold`` raises.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            found = await self._complete(dependency, self._codec.seal(event), key, hold)
        return found and {name: self._codec.open(one) for name, one in found.items()}

    async def fired(self, dependency: str, event: Event, key: str = "") -> None:
        """Forget the set that the event completed, before the event is acked. Raises Unavailable."""
        place = name_of_set(dependency, event)
        if found := await self._state.get(self._scope, place):
            with suppress(StateConflict):
                await self._state.delete(self._scope, place, version=found.version)

    async def acked(self, dependency: str, event: Event, key: str = "", *, completed: bool) -> None:
        """The event is acked. Without a key it is forgotten, so that a replay of it counts, in whichever worker."""
        place = name_of_set(dependency, event)
        if not self._ttl:
            self._acked.add(place)
            async with self._locks.setdefault(key, asyncio.Lock()):
                if place in self._acked:  # no event that was before us has taken it along
                    with suppress(Unavailable):  # then the next one does
                        await self._forget_acked(key)
        elif completed:  # nothing else may ever happen under this key
            with suppress(Unavailable):  # then a few bytes stay
                await settled(self._state, self._scope, key, place)

    async def _complete(self, dependency: str, event: Event, key: str, hold: Hold | None) -> Set | None:
        place = name_of_set(dependency, event)
        stored = False
        for _ in range(CONFLICTS):
            entry = await self._state.get(self._scope, name_of_key(key))
            known = self._read(entry)
            if (completing := known.seen.get(place)) is not None:
                return await self._set(place) if completing else None
            known.held[dependency] = Held(event, self._prints[dependency], self._now())
            found = {name: held.event for name, held in known.held.items()}
            completing = self._expression.met(found.keys())
            if completing:
                known.held.clear()
                await self._keep(place, found, key)
                stored = True
            removed = self._without_acked(known)
            known.seen = _bounded({**known.seen, place: completing})
            if hold:
                await hold()
            try:
                await self._state.put(self._scope, name_of_key(key), known.change(entry))
            except StateConflict:
                continue
            self._acked -= removed
            if not completing and stored:
                await self.fired(dependency, event)  # another worker was first with those events
            return found if completing else None
        raise Unavailable(f"other workers keep changing the conditions of {self._scope!r}")

    async def _forget_acked(self, key: str) -> None:
        for _ in range(CONFLICTS):
            entry = await self._state.get(self._scope, name_of_key(key))
            known = Record.read(entry) if entry else Record()
            removed = self._without_acked(known)
            with suppress(StateConflict):
                await self._state.put(self._scope, name_of_key(key), known.change(entry))
                self._acked -= removed
                return

    def _without_acked(self, known: Record) -> set[str]:
        """Remove from what was seen what is acked, and return the latter: once that is stored, it need not be known."""
        known.seen = {seen: owed for seen, owed in known.seen.items() if seen not in self._acked}
        return set(self._acked)

    async def _keep(self, place: str, found: Set, key: str) -> None:
        value = Owed(dict(found), key).encoded()
        await change(self._state, self._scope, place, lambda _: value, ttl=ALWAYS)

    async def _set(self, place: str) -> Set | None:
        """The set that an event completed; None if the trigger has had it."""
        entry = await self._state.get(self._scope, place)
        return Owed.read(entry).events if entry else None

    async def kept(self) -> list[Kept]:
        """The events that wait for others, the oldest first. Raises Unavailable, Refused."""
        return await kept(self._state, self._scope, self._read)

    def _read(self, entry: StateEntry | None) -> Record:
        """What is stored, without what does not count any more."""
        known = Record.read(entry) if entry else Record()
        known.ttl = self._ttl.total_seconds() if self._ttl else 0.0
        now = self._now()
        since = max(self._resets.last(now), now - self._ttl.total_seconds() if self._ttl else float("-inf"))
        known.held = {
            name: held for name, held in known.held.items() if held.of == self._prints.get(name) and held.at >= since
        }
        return known


def _bounded(seen: dict[str, bool]) -> dict[str, bool]:
    """Without the oldest, if they are too many. What completed a set that is owed stays."""
    settled = [place for place, owed in seen.items() if not owed]
    surplus = set(settled[: max(0, len(seen) - MOST_SEEN)])
    return {place: owed for place, owed in seen.items() if place not in surplus} if surplus else seen
