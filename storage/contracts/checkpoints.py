"""Checkpoints: the position of a watch, and the store that keeps it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.contracts.leadership import Term


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint was made for. Another cluster is refused; any other difference is recorded as a gap."""

    cluster: str  # uid of the kube-system namespace, "" if reading it is forbidden
    group: str
    version: str
    resource: str
    namespace: str  # "" = all
    labels: str  # label selector as sent to the API server
    filters: str  # canonical JSON of the client-side filters


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The small part of a checkpoint. Each commit writes all of it."""

    position: str  # resourceVersion up to which everything is durable in the queue; "" before the first list
    listing: str = ""  # why a list is under way; until it ends, a watch must not resume from `position`
    selection: Selection
    started: str  # RFC 3339: when the entry was started for the first time (`EntryState`)
    timeline: int = 0


class EntryState(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to an entry of an EventSource as a whole. It outlives the checkpoints of the entry."""

    started: str  # RFC 3339: when it was started for the first time; afterStart and `initialList: skip` count from here
    timeline: int = 0  # the latest that one of its watches has begun


class Inventoried(NamedTuple):
    """What the inventory keeps of an object. Its key is the uid."""

    resource_version: str
    namespace: str
    name: str
    passed: bool  # its last body passed the filters
    intended: bool = False  # known from `CheckpointStore.intend` only: its event may or may not have been published


@dataclass(frozen=True)
class Gap:
    """History that was missed. A diff made up for it: versions in (`since`, `until`] may be collapsed."""

    reason: str
    since: str
    until: str
    time: str
    synthetic: int  # number of events that the diff made


@dataclass(frozen=True)
class Checkpoint:
    """The position of a watch.

    ``number`` counts commits and resets. ``state`` is None before the first commit and after a reset.
    """

    key: str
    number: int
    term: int
    state: State | None


class CheckpointDelta(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a checkpoint: the whole new `State`, and what changed in the inventory.

    An object in both ``upserts`` and ``removals`` came and went within the step; events of it may have been published.
    ``bodies`` are for entries whose inventory keeps bodies: they belong to objects in ``upserts``, and an upsert
    without a body drops the one that was kept. ``follows`` is the number of the commit that the step builds on, and
    ``after`` the token of that commit if it is known, because another process may have made a commit of the same
    number. ``token`` identifies this delta: a store that is one commit further under the same token has already made
    the step, and only the reply was lost.
    """

    follows: int
    state: State
    upserts: Mapping[str, Inventoried] = msgspec.field(default_factory=dict)
    removals: frozenset[str] = frozenset()
    bodies: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    gap: Gap | None = None
    after: str = ""
    token: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        if self.bodies and not self.bodies.keys() <= self.upserts.keys():
            raise ValueError("a body can be kept only of an object in `upserts`")

    def is_next(self, key: str, number: int, token: str) -> bool:
        """Whether this is the next step of a checkpoint at ``number`` and ``token``; False if it was the last step.

        Raises CommitMismatch if it is neither.
        """
        if number == self.follows + 1 and token == self.token:
            return False
        if number != self.follows or (self.after and token != self.after):
            raise CommitMismatch.of(key, number, self.follows)
        return True


class CheckpointStore(Protocol):
    """The checkpoints of a bus, each with its inventory, by key."""

    async def acquire(self, key: str, term: Term) -> Checkpoint:
        """Fence every older term, under all keys, and return the checkpoint. The next commit follows its ``number``.

        Raises LeadershipLost if a newer term has acquired any key, Unavailable.
        """
        ...

    async def newest_term(self) -> int:
        """The newest term that has acquired a key; older ones are refused. 0 if there was none. It never falls."""
        ...

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        """Like `TransactionalPublisher.commit`, but without events. Raises the same errors.

        The step is durable on return. In a store with a write window, it is durable once the window has passed, counted
        from the oldest step that is not durable yet.
        """
        ...

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        """Record the objects of a delta before its events are published in another system.

        Unknown objects in ``upserts`` are added to the inventory as ``intended``. A known object has ``passed`` if the
        old or the new entry has. Number and state stay the same; `save` of the same delta makes the step. Returns False
        if that step was already made. Raises the same errors as `save`.
        """
        ...

    async def entry(self, name: str) -> EntryState | None:
        """What was saved of an entry, ``<source>/<event name>``. None if nothing was."""
        ...

    async def save_entry(self, name: str, state: EntryState, *, term: Term) -> None:
        """Replace what is known of an entry. It is durable on return. Raises LeadershipLost, Unavailable."""
        ...

    async def flush(self) -> None:
        """Make everything durable that was saved. Called before the lead is handed over and before the process ends.

        Raises the same errors as `save`.
        """
        ...

    async def inventory(self, key: str) -> dict[str, Inventoried]:
        """All objects known under the key, by uid, without their bodies."""
        ...

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        """The last bodies of these objects, by uid. Objects whose body is not kept are left out."""
        ...

    async def checkpoint(self, key: str) -> Checkpoint | None:
        """The checkpoint as it is, without acquiring it. None if there is none."""
        ...

    async def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, by key."""
        ...

    async def gaps(self, key: str) -> list[Gap]:
        """The newest recorded gaps of a checkpoint, oldest first: ten at least, and a bounded number."""
        ...

    async def reset(self, key: str) -> bool:
        """Delete the state and the inventory: the next start lists as if it were the first. False if there was no
        state.

        The number grows; the recorded gaps and the entry's state stay. A leader at work notices at its next commit
        (CommitMismatch) and starts over.
        """
        ...

    async def remove(self, key: str, *, entry: str, term: Term) -> None:
        """Delete a checkpoint that is no longer wanted, as if it had never been. Repeating it changes nothing.

        Its recorded gaps become those of ``entry``, another key, with the old key in their reason. Raises
        LeadershipLost, Unavailable.
        """
        ...
