"""What happened, in its order: changes, and copies of etcd put back.

A restore undoes the changes between the copy and itself: the objects are what they were, and the versions are given out
again. So a version alone names nothing forever; a change is known by (uid, version, tag), the tag being the writer's.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubecdc.storage.contracts.event import Action

ENDED, REVIVED = -0.6, -0.4  # where a restore stands between the changes before and after it


@dataclass(frozen=True, kw_only=True)
class Change:
    """A write that the API server committed.

    ``version`` is None for a deletion: the server's answer does not tell it. ``started`` and ``finished`` are
    monotonic seconds around the request. ``body`` is the object as committed; of a deletion, the last one known.
    """

    action: Action
    uid: str
    version: int | None
    partitionkey: str
    started: float
    finished: float
    body: Mapping[str, Any] = field(repr=False)
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Restore:
    """After ``at`` changes, etcd was put back to a copy of when there were ``kept``."""

    kept: int
    at: int


@dataclass
class Life:
    """One object, as far as it stands: its first and last change, and between which versions it ended."""

    born_at: int = -1
    born: int | None = None
    dead_at: int = -1
    dead_least: float = math.inf
    dead_most: float = math.inf


class History:
    """The changes, and which of them stand after the restores. A change is named by its place in the order."""

    def __init__(self, changes: Sequence[Change], restores: Sequence[Restore] = ()) -> None:
        self.changes = changes
        self.restores = restores
        self._first_restore = min((restore.at for restore in restores), default=math.inf)
        self._undone = {place for restore in restores for place in range(restore.kept, restore.at)}
        self.standing = [place for place in range(len(changes)) if place not in self._undone]
        self._standing = set(self.standing)
        self.lives: dict[str, Life] = defaultdict(Life)
        self._by_state: dict[tuple[str, int, str], list[int]] = defaultdict(list)
        self._revived: dict[int, list[float]] = defaultdict(list)
        self._ends: dict[str, list[float]] = defaultdict(list)
        self.alive = self._play()  # partitionkey -> the place of its object's last state
        self._live()

    def states(self, uid: str, version: int, tag: str) -> list[int]:
        """The changes that made this state; without a tag, all of that version."""
        return self._by_state.get((uid, version, tag), [])

    def shown(self, uid: str, version: int, tag: str) -> list[float]:
        """When the object was in that state first, or again because of a restore, in order."""
        places = self.states(uid, version, tag)
        return sorted([*places, *(again for place in places for again in self._revived[place])])

    def ends(self, uid: str) -> list[float]:
        """When the object came to an end: deleted, or not there in a copy that was put back. In order."""
        return sorted(self._ends.get(uid, []))

    def ended_unseen(self, uid: str) -> bool:
        """Whether a watch may have missed its end: in a restore, after one (among versions that it may believe seen),
        or in the stretch that one undid (the line need not have been sent)."""
        return any(end >= self._first_restore + ENDED or end in self._undone for end in self._ends.get(uid, []))

    def undone(self, uid: str, version: int, tag: str, action: Action) -> bool:
        """Whether that was so once, and restores have undone it each time; one of its ends, if it was a DELETE: nobody
        can tell which of them was told."""
        if action == "DELETE":
            return any(self.changes[at].uid == uid and self.changes[at].action == "DELETE" for at in self._undone)
        places = self.states(uid, version, tag)
        return bool(places) and self._standing.isdisjoint(places)

    def restored_before(self, place: int) -> bool:
        """Whether the change was made after a restore."""
        return place >= self._first_restore

    def _play(self) -> dict[str, int]:
        alive: dict[str, int] = {}
        copies: dict[int, dict[str, int]] = {}
        kept = {restore.kept for restore in self.restores}
        put_back = {restore.at: restore.kept for restore in self.restores}
        for place in range(len(self.changes) + 1):
            if place in put_back:
                alive = self._put_back(alive, copies.get(put_back[place], alive), place)
            if place in kept:
                copies[place] = dict(alive)
            if place == len(self.changes):
                break
            change = self.changes[place]
            if change.action == "DELETE":
                alive.pop(change.partitionkey, None)
                self._ends[change.uid].append(place)
                continue
            alive[change.partitionkey] = place
            for tag in {change.tag, ""}:
                self._by_state[change.uid, change.version or 0, tag].append(place)
        return alive

    def _put_back(self, alive: dict[str, int], copy: dict[str, int], at: int) -> dict[str, int]:
        there = {self.changes[place].uid for place in copy.values()}
        for place in alive.values():
            if self.changes[place].uid not in there:
                self._ends[self.changes[place].uid].append(at + ENDED)
        for place in set(copy.values()) - set(alive.values()):
            self._revived[place].append(at + REVIVED)
        return dict(copy)

    def _live(self) -> None:
        """A deletion's version is not told, but it lies above every write that ended before it and below every write
        that began after it, both since the last restore."""
        breaks = sorted({restore.at for restore in self.restores})
        bounds = [_Bounds(self.changes[start:end]) for start, end in zip([0, *breaks], [*breaks, None], strict=True)]
        for place in self.standing:
            change, life = self.changes[place], self.lives[self.changes[place].uid]
            if change.action == "ADD":
                life.born_at, life.born = place, change.version
            elif change.action == "DELETE":
                life.dead_at = place
                life.dead_least, life.dead_most = bounds[bisect_right(breaks, place)].of(change)


class _Bounds:
    """Between which versions a deletion may be."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._ended = sorted((c.finished, c.version) for c in changes if c.version is not None)
        self._highest: list[int] = []
        for _, version in self._ended:
            self._highest.append(max(version, self._highest[-1] if self._highest else 0))
        self._begun = begun = sorted((c.started, c.version) for c in changes if c.version is not None)
        self._lowest = [0] * len(begun)
        for i in range(len(begun) - 1, -1, -1):
            self._lowest[i] = min(begun[i][1], self._lowest[i + 1] if i + 1 < len(begun) else begun[i][1])

    def of(self, change: Change) -> tuple[float, float]:
        if change.version is not None:
            return change.version, change.version
        before = bisect_left(self._ended, (change.started, 0))
        after = bisect_right(self._begun, (change.finished, math.inf))
        least = self._highest[before - 1] + 1 if before else 1
        return least, self._lowest[after] - 1 if after < len(self._begun) else math.inf
