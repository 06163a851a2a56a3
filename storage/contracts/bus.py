"""A bus: all of its parts together, as commands open it, and the part of it that a queue alone has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from kubecdc.storage.contracts.administration import DeadLetters, Replay, Replayable, SubscriptionStatus, Unknown
from kubecdc.storage.contracts.checkpoints import CheckpointStore
from kubecdc.storage.contracts.deliveries import Subscription, SubscriptionSpec
from kubecdc.storage.contracts.leadership import Elector
from kubecdc.storage.contracts.publishing import Publisher, TransactionalPublisher
from kubecdc.storage.contracts.state import StateStore


@dataclass(frozen=True)
class Capabilities:
    """How back ends differ. A conformance case that is skipped names the capability that excuses it.

    A composed bus also has the capabilities that its store adds: see `ComposedBus`.
    """

    order: bool  # per partitionkey and subscription
    atomic_commit: bool  # events, inventory and position in one step
    delayed_nack: bool
    attempts: bool  # counts attempts across workers
    replay: bool
    dead_letter_browse: bool
    max_event_bytes: int
    exactly_once_publish: bool
    state: bool = True  # keeps small values that workers share
    elector: bool = True  # elects a leader by itself
    counts: bool = True  # knows the exact backlog, its age, the workers, every dead letter, and which are superseded
    limits_backlog: bool = True  # refuses commits while a subscription has `maxPending` events
    keeps: bool = False  # a subscription is owed events by each spec that a living process has: see `Queue.keep`
    uses_state: bool = False  # with a state store, a queue without order or attempts has `never_back` and `attempts`
    never_back: bool = False  # no event of an object is handed out for the first time after a newer one was settled

    @property
    def pauses(self) -> bool:
        """Whether subscriptions can be paused: workers know the state, the bus's own or one they need anyway."""
        return self.state and (self.atomic_commit or self.uses_state)


class Queue(Protocol):
    """An open queue: events and their subscriptions. With a checkpoint store it makes a `Bus`.

    A member that needs a capability the queue does not declare is never used; it may raise.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def ack_wait(self) -> timedelta:
        """How long a claim holds without `Delivery.extend`."""
        ...

    @property
    def publisher(self) -> Publisher: ...

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Make the subscriptions known: from now on each is owed every event. A known name only takes the new spec.

        The backlog stays. It is also owed what it was before, while other processes `keep` that.
        """
        ...

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Tell that this process still has them, at least every third of `KEPT_SECONDS`.

        A subscription is owed the events of the spec that was registered last, and of each other one that a living
        process has. So none of two versions that are at work takes the events of the other away, whichever starts
        again. A process that was closed, or has not told for `KEPT_SECONDS`, is not alive. If nobody has the latest
        spec any more, the one that is kept takes its place. Does nothing where the queue cannot know (SQS, Pub/Sub):
        there, the latest registration alone counts (Capabilities.keeps).
        """
        ...

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        """All registered subscriptions, by name.

        Without ``ages``, `SubscriptionStatus.oldest` may be UNKNOWN: to find it out may take many steps.
        """
        ...

    async def prune(self, name: str) -> bool:
        """End a subscription and drop its backlog (not its dead letters). False if it is not there."""
        ...

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        """Make all that the subscriptions need, so that no process needs the right to create anything later.

        Returns what was made, or with ``dry_run`` what would be made, a line each. What exists is left as it is, except
        that settings which differ from the manifest are set. Raises as `register`.
        """
        ...

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> Subscription:
        """Open a registered subscription for this process.

        ``state`` is where a queue that cannot count attempts by itself keeps them. Others ignore it.
        """
        ...

    @property
    def dead_letters(self) -> DeadLetters:
        """The events that were given up on (Capabilities.dead_letter_browse)."""
        ...

    async def replayable(self, replay: Replay) -> Replayable:
        """What the replay would do now (Capabilities.replay). Raises as `replay`, but not for its size."""
        ...

    async def replay(self, replay: Replay) -> int | Unknown:
        """Owe retained events to a subscription again, behind what is pending. Returns how many, if that is known.

        Each object's come in order and up to its newest, what is pending included: what a consumer has seen of an
        object in the end is its last event. Raises NoSubscription, UsageError if ``first`` is not retained,
        Unavailable: if they would bring the backlog above ``maxPending``, none is owed; else any of the objects.
        """
        ...

    async def close(self) -> None:
        """Give back what is open. Open `Subscription.deliveries` end; what they handed out may still be settled."""
        ...


class Bus(Queue, Protocol):
    """An open event bus: a queue together with the checkpoints of the watches that fill it."""

    @property
    def publisher(self) -> TransactionalPublisher: ...

    @property
    def checkpoints(self) -> CheckpointStore: ...

    @property
    def elector(self) -> Elector:
        """Elects the process that watches (Capabilities.elector). Raises UsageError without the capability."""
        ...

    @property
    def state(self) -> StateStore:
        """Small values that workers share (Capabilities.state). Raises UsageError without the capability."""
        ...
