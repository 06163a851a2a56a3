"""Checkpoints: where a watch stands, and the store that the watcher keeps them in."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.contracts.leadership import Term


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint was made for. Another cluster is refused; any other difference is a gap."""

    cluster: str  # uid of the kube-system namespace, "" where it may not be read
    group: str
    version: str
    resource: str
    namespace: str  # "" = all
    labels: str  # label selector as sent to the API server
    filters: str  # canonical JSON of the client-side filters


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The small part of a checkpoint, written whole with each commit."""

    position: str  # resourceVersion up to which everything is durable in the queue; "" before the first list
    listing: str = ""  # why a list is under way; while it is, `position` must not be resumed from
    selection: Selection
    started: str  # RFC 3339, the entry's first start ever (afterStart counts from here)
    timeline: int = 0


class Inventoried(NamedTuple):
    """What is remembered of an object, under its uid."""

    resource_version: str
    namespace: str
    name: str
    passed: bool  # its last body passed the filters
    intended: bool = False  # known only from `CheckpointStore.intend`: it may have been announced, or not


@dataclass(frozen=True)
class Gap:
    """History that was missed and repaired by a diff: versions in (`since`, `until`] may be collapsed."""

    reason: str
    since: str
    until: str
    time: str
    synthetic: int  # events the repair made


@dataclass(frozen=True)
class Checkpoint:
    """Where a watch stands. ``number`` counts its commits and its resets; ``state`` is None before the first commit
    and after a reset."""

    key: str
    number: int
    term: int
    state: State | None


@dataclass(frozen=True, kw_only=True)
class CheckpointDelta:
    """One step of a checkpoint: the whole new `State`, and what changed in the inventory.

    An object in ``upserts`` and ``removals`` came and went within the step: it may have been announced on the way.
    ``bodies`` are of objects in ``upserts``, for entries whose inventory keeps them: an upsert without one keeps none.
    ``follows`` is the number of the commit it builds on, and ``after`` that one's token where it is known: somebody
    else's commit may have the same number. ``token`` names this very delta: a store that already stands one further
    under the same token has done it, and only the reply was lost.
    """

    follows: int
    state: State
    upserts: Mapping[str, Inventoried] = field(default_factory=dict)
    removals: frozenset[str] = frozenset()
    bodies: Mapping[str, bytes] = field(default_factory=dict)
    gap: Gap | None = None
    after: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        if not self.bodies.keys() <= self.upserts.keys():
            raise ValueError("a body can be kept only of an object in `upserts`")

    def is_next(self, key: str, number: int, token: str) -> bool:
        """Whether it is the next step of a checkpoint that stands there; False if it is the last one.

        Raises CommitMismatch.
        """
        if number == self.follows + 1 and token == self.token:
            return False
        if number != self.follows or (self.after and token != self.after):
            raise CommitMismatch.of(key, number, self.follows)
        return True


class CheckpointStore(Protocol):
    async def acquire(self, key: str, term: Term) -> Checkpoint:
        """Fence every older term and return the checkpoint: the next commit follows its ``number``.

        Raises LeadershipLost if a newer term has it, Unavailable.
        """
        ...

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        """`commit` without events. Same errors.

        Durable on return, or within the store's write window, if it has one, counted from the oldest step that is not.
        """
        ...

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        """Events of the delta are about to be published elsewhere: remember its objects, before anybody hears of them.

        Those in ``upserts`` that are not known are from now on, as ``intended``; one that is known has ``passed`` if
        either has. Number and state stay; `save` of the delta does the rest. False: that was done before. Same errors.
        """
        ...

    async def flush(self) -> None:
        """Have everything durable that was saved: the lead is handed over, or the process ends. Same errors."""
        ...

    async def inventory(self, key: str) -> dict[str, Inventoried]:
        """Every object known under the key, by uid, without the bodies."""
        ...

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        """The last bodies of these objects, by uid; those that are not kept are not in it."""
        ...

    async def checkpoint(self, key: str) -> Checkpoint | None:
        """The checkpoint as it stands, without taking it."""
        ...

    async def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, by key."""
        ...

    async def gaps(self, key: str) -> list[Gap]:
        """The recorded gaps of a checkpoint, oldest first."""
        ...

    async def reset(self, key: str) -> bool:
        """Forget the state and the inventory: the next start lists as if it were the first. False: nothing was there.

        The number moves on and the recorded gaps stay. A leader at work notices at its next commit (CommitMismatch)
        and starts over.
        """
        ...
