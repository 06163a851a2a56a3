"""What the watcher and the workers may expect of a bus, whatever the back end.

Each side sees only what it uses: the watcher a `TransactionalPublisher`, a `CheckpointStore` and an `Elector`, a worker
its `Subscription`. `storage.testing` is this file as a test suite; every back end runs it.
Times are wall-clock seconds since the epoch, durations are `timedelta`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, Protocol

import msgspec

from storage.again import DeadLetters, Replay, Replayable
from storage.errors import CommitMismatch
from storage.event import Event


@dataclass(frozen=True)
class Capabilities:
    """How back ends differ. A conformance case that is skipped names the capability that excuses it."""

    order: bool  # per partitionkey and subscription
    atomic_commit: bool  # events, inventory and position in one step
    delayed_nack: bool
    attempts: bool  # counts attempts across workers
    replay: bool
    dead_letter_browse: bool
    max_event_bytes: int
    exactly_once_publish: bool


@dataclass(frozen=True)
class Term:
    """One holding of the lead. ``number`` is the epoch and only grows; ``holder`` is for people."""

    number: int
    holder: str


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


@dataclass(frozen=True)
class Batch:
    """Events and the checkpoint step that makes them unrepeatable."""

    key: str
    events: Sequence[Event]
    delta: CheckpointDelta


class Publisher(Protocol):
    async def publish(self, events: Sequence[Event]) -> None:
        """Return once every event is durable for every subscription to it. May duplicate on error.

        Raises Unavailable (and so BusFull, NoSubscription): then any prefix may have been published.
        """
        ...


class TransactionalPublisher(Publisher, Protocol):
    under_way: int
    """How many commits of a checkpoint may be under way at a time, if each is begun after the one it follows: they are
    made in that order, or refused."""

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        """The same batch, ready for a `commit` in that term, which then has less to do. It takes others as well."""
        ...

    async def commit(self, batch: Batch, *, term: Term) -> None:
        """Events, inventory and state in one atomic step: all or nothing; repeating a batch that was done is a no-op.

        Raises LeadershipLost for an older term, CommitMismatch if the store does not stand at ``follows`` and ``after``
        (and not one further by this very batch), BusFull or NoSubscription if the events may not go in, Unavailable
        otherwise.
        """
        ...


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


@dataclass(frozen=True)
class StateEntry:
    """A value of a `StateStore`. ``version`` is the token of the change that made it, so it never comes again."""

    value: bytes
    version: str


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """What to put: ``follows`` is the version it was made from, "" if there was none. After ``ttl`` it is gone.

    ``token`` names this very change: one that is repeated because its reply was lost is done, and no conflict.
    """

    value: bytes
    ttl: timedelta
    follows: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        if self.ttl < timedelta(milliseconds=1):
            raise ValueError("a state lives for a millisecond at least")


class StateStore(Protocol):
    """Small values that the workers of a trigger share, by compare-and-set.

    ``scope`` is the name of the trigger's subscription, and has no line breaks; keys of different scopes do not meet.
    What is put stays until its time is over, also when the subscription ends.
    """

    async def get(self, scope: str, key: str) -> StateEntry | None:
        """The value as it is, None if there is none, or its time is over. Raises Unavailable."""
        ...

    async def put(self, scope: str, key: str, change: StateChange) -> None:
        """Put the value if what is there still is what the change follows; its version is then the change's token.

        Raises StateConflict: read again. Raises Unavailable: it happened or not, repeat the same change.
        """
        ...

    async def delete(self, scope: str, key: str, *, version: str) -> None:
        """Forget the value of that version. Nothing happens if there is none. Raises StateConflict, Unavailable.

        A first put (that follows nothing) whose reply was lost may be repeated after this, and be there again. Where
        that matters put an empty value instead.
        """
        ...


class Elector(Protocol):
    def lead(self) -> AbstractAsyncContextManager[Term]:
        """Wait until this process leads; leave to hand over. The term is above every earlier one.

        An elector that can lose the lead cancels the block when it does, and raises LeadershipLost.
        """
        ...


@dataclass(frozen=True)
class SubscriptionSpec:
    """Who wants what: one per (Sensor, trigger), or an entry of the EventBus's ``subscriptions``."""

    name: str
    source: str  # eventSourceName
    subject: str  # eventName


@dataclass(frozen=True)
class Worker:
    """A process that has a subscription open."""

    holder: str
    seen: float  # when it last said so


@dataclass(frozen=True)
class SubscriptionStatus:
    """A registered subscription as the bus knows it."""

    spec: SubscriptionSpec
    registered: float
    pending: int  # events not yet acked or dead-lettered
    oldest: float | None  # when the oldest of them was committed
    dead_letters: int
    workers: tuple[Worker, ...] = ()


class Delivery(Protocol):
    """An event and its settlement. After ack, nack or dead_letter returned it is over; before, it is repeated.

    Each call ends within the back end's own deadline, about 10 s: with Unavailable if there was no answer.
    """

    @property
    def event(self) -> Event:
        """The event. Raises Undecodable."""
        ...

    @property
    def body(self) -> bytes:
        """The event as stored."""
        ...

    @property
    def attempt(self) -> int:
        """The number of the attempt that `start` begins: 1 for the first."""
        ...

    async def start(self) -> None:
        """A trigger is about to run: this is an attempt. From the second reception on it is recorded before return.

        Raises ClaimLost, Unavailable.
        """
        ...

    async def ack(self) -> None:
        """Done. Raises ClaimLost, Unavailable; may be repeated."""
        ...

    async def nack(self, delay: timedelta) -> None:
        """Hand it back, to be delivered again after the delay. Counts as an attempt only if `start` was called."""
        ...

    async def extend(self) -> None:
        """Keep the claim for another ackWait from now. Raises ClaimLost, Unavailable."""
        ...

    async def dead_letter(self, reason: str) -> None:
        """Give up on it: keep it aside with reason and attempts, and go on with the next of its partitionkey."""
        ...


class Subscription(Protocol):
    def deliveries(self) -> AsyncIterator[Delivery]:
        """What is due, for ever, at most ``prefetch`` unsettled at a time; waits while there is nothing.

        With Capabilities.order, no event is handed out, by any worker, while an earlier one of its partitionkey is not
        settled. Closing the iterator hands nothing back: settle what was received.
        Unavailable is not raised: the iterator retries, and says so once.
        """
        ...

    async def registered(self) -> SubscriptionSpec | None:
        """What it is registered for now, by the process that did so last; None if it was ended. Raises Unavailable."""
        ...


class Bus(Protocol):
    """An open event bus."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def ack_wait(self) -> timedelta:
        """How long a claim holds without `Delivery.extend`."""
        ...

    @property
    def publisher(self) -> TransactionalPublisher: ...

    @property
    def checkpoints(self) -> CheckpointStore: ...

    @property
    def elector(self) -> Elector: ...

    @property
    def state(self) -> StateStore: ...

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Make the subscriptions known: from now on each is owed every event. A known name only takes the new spec."""
        ...

    async def subscriptions(self) -> list[SubscriptionStatus]:
        """All registered subscriptions, by name."""
        ...

    async def prune(self, name: str) -> bool:
        """End a subscription and drop its backlog (not its dead letters). False if it is not there."""
        ...

    def subscription(self, name: str, *, prefetch: int) -> Subscription:
        """Open a registered subscription for this process."""
        ...

    @property
    def dead_letters(self) -> DeadLetters: ...

    async def replayable(self, replay: Replay) -> Replayable:
        """What the replay would do now (Capabilities.replay). Raises as `replay`, but not for its size."""
        ...

    async def replay(self, replay: Replay) -> int:
        """Owe retained events to a subscription again, behind what is pending. Returns how many.

        Each object's come in order and up to its newest, what is pending included: what a consumer has seen of an
        object in the end is its last event. Raises NoSubscription, UsageError if ``first`` is not retained,
        Unavailable: if they would bring the backlog above ``maxPending``, none is owed; else any of the objects.
        """
        ...

    async def close(self) -> None: ...
