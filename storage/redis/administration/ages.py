"""When the oldest pending event of each subscription was committed.

A subscription has many streams, and its oldest event may be in any of them. Of each one, a time is remembered before
which it has nothing pending there: that of its first event, or that of the look which found none. So whoever asks again
looks at the streams with the earliest times, until one has an event that is older than all others can have: mostly one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kubecdc.storage.redis_server.connection import Argument, Connection

BUDGET = 400_000  # of one script, as `oldest.lua` counts it: half a millisecond
PARTITIONS = 150  # in one script, about
RENEWED = 10  # each time, another tenth of what is known is forgotten: a Redis may come back without its last second
EVER = 0


class Owed(NamedTuple):
    """A subscription with pending events. ``rewound``: when it was owed older ones again, in ms; 0 if it never was."""

    entries: tuple[bytes, ...]
    rewound: int


@dataclass(frozen=True)
class _Known:
    """``before``: for each partition of each entry in turn, the time in ms before which nothing is pending there."""

    of: Owed
    before: list[int]


class _Look(NamedTuple):
    """Subscriptions, and some partitions of an entry where their first events are looked for."""

    entry: bytes
    partitions: tuple[int, ...]
    searches: Sequence[_Search]

    @property
    def arguments(self) -> Iterator[Argument]:
        yield from (self.entry, " ".join(map(str, self.partitions)), len(self.searches))
        yield from (search.id for search in self.searches)


class _Search:
    """The search for the oldest event of one subscription. ``oldest`` is the best so far, in ms."""

    def __init__(self, id_: bytes, known: _Known) -> None:
        self.id = id_
        self.oldest = math.inf
        self._entries, self._rewound = known.of
        self._known = known.before
        self._before = list(known.before)  # as it was when the search began: others go on with theirs
        self._places = sorted(range(len(self._before)), key=self._before.__getitem__)
        self._next = 0

    def next(self, most: int) -> list[tuple[bytes, tuple[int, ...]]]:
        """The partitions to look at next, by entry: all that nothing is known of, and so many. None: it is over."""
        end = self._next
        while end < len(self._places) and (time := self._before[self._places[end]]) < self.oldest:
            most -= time != EVER
            if most < 0:
                break
            end += 1
        places, self._next = self._places[self._next : end], end
        if len(self._entries) == 1:
            return [(self._entries[0], tuple(places))] if places else []
        size = len(self._before) // len(self._entries)
        by_entry: dict[bytes, list[int]] = defaultdict(list)
        for place in places:
            by_entry[self._entries[place // size]].append(place % size)
        return [(entry, tuple(partitions)) for entry, partitions in by_entry.items()]

    def tell(self, entry: bytes, partitions: Sequence[int], found: Sequence[int], now: int) -> None:
        """What a look at ``now`` has found in each partition, as `oldest.lua` answers it."""
        start = self._entries.index(entry) * (len(self._before) // len(self._entries))
        for partition, time in zip(partitions, found, strict=True):
            if time == 0 or time > self._rewound:  # else there may be older ones behind it
                self._known[start + partition] = time or now
            if 0 < time < self.oldest:
                self.oldest = time


class Ages:
    """Remembers what it has found. It may be asked again before it has answered."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self._connection = connection
        self._partitions = partitions
        self._known: dict[bytes, _Known] = {}
        self._turn = 0

    async def oldest(self, owed: Mapping[bytes, Owed]) -> dict[bytes, float]:
        """In seconds since 1970, by the number of the subscription; without those that have settled all meanwhile."""
        self._forget(owed)
        searches = [_Search(id_, self._known[id_]) for id_ in owed]
        most = 1
        while looks := _looks(searches, most):
            await self._make(looks)
            most *= 4
        return {search.id: search.oldest / 1000 for search in searches if search.oldest < math.inf}

    def _forget(self, owed: Mapping[bytes, Owed]) -> None:
        self._turn = (self._turn + 1) % RENEWED
        before = self._known
        self._known = {}
        for id_, of in owed.items():
            known = before.get(id_)
            if known is None or known.of != of:
                known = _Known(of, [EVER] * self._partitions * len(of.entries))
            for place in range(self._turn, len(known.before), RENEWED):
                known.before[place] = EVER
            self._known[id_] = known

    async def _make(self, looks: list[_Look]) -> None:
        """Look, in as many scripts as it takes."""
        looks.reverse()
        while looks:
            args = [argument for look in _page(looks) for argument in look.arguments]
            now, done, *found = await self._connection.run("administration/oldest", BUDGET, *args)
            while done:
                entry, partitions, searches = looks.pop()
                count, size = min(done, len(partitions)), len(searches)
                for number, search in enumerate(searches):
                    search.tell(entry, partitions[:count], found[number : count * size : size], now)
                if count < len(partitions):
                    looks.append(_Look(entry, partitions[count:], searches))
                found, done = found[count * size :], done - count


def _looks(searches: Sequence[_Search], most: int) -> list[_Look]:
    """Those of one entry that look at the same partitions do so together."""
    found: dict[tuple[bytes, tuple[int, ...]], list[_Search]] = defaultdict(list)
    for search in searches:
        for place in search.next(most):
            found[place].append(search)
    return [_Look(*place, those) for place, those in found.items()]


def _page(looks: Sequence[_Look]) -> Iterator[_Look]:
    """The last ones, which together have enough partitions for a script."""
    partitions = 0
    for look in reversed(looks):
        yield look
        partitions += len(look.partitions)
        if partitions >= PARTITIONS:
            return
