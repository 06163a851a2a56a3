"""Publishing: what the watcher hands to a bus."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import msgspec

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts.checkpoints import CheckpointDelta
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.contracts.leadership import Term

T = TypeVar("T")


class Batch(msgspec.Struct, frozen=True):
    """Events, and the checkpoint step that keeps them from being published twice."""

    key: str
    events: Sequence[Event]
    delta: CheckpointDelta


class PreparedBatch(Batch, Generic[T], frozen=True):
    """A batch for which `TransactionalPublisher.prepare` did part of the work; ``form`` is the back end's own."""

    form: T


@dataclass(frozen=True)
class Publication:
    """Events on their way into a queue that may take some of them and refuse others.

    A caller that repeats a publication passes the same object: ``done`` has what the queue confirmed, so that the
    repeat sends only the rest. Each item of ``done`` is a target (a queue's own name for where it sends, "" if there is
    one) and the index of an event.

    ``token`` identifies the publication in deduplication ids, together with the index: an event that is published again
    on purpose has another token. ``number`` grows with each publication of a term.
    """

    events: Sequence[Event]
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    term: Term | None = None
    number: int = 0
    done: set[tuple[str, int]] = field(default_factory=set)

    def order(self, index: int) -> str:
        """The place of an event among all that are published, "" without a term. It sorts as text.

        Within a partitionkey it only grows: a newer leader has a greater epoch, and no leader publishes an event before
        the one before it is confirmed. ``timeline`` and ``sequence`` would not do: what a leader had not saved when it
        died may be announced again, behind a deletion that has the version of a list.
        """
        return f"{self.term.number:010d}.{self.number:012d}.{index:05d}" if self.term else ""

    def require_time(self, seconds: float) -> None:
        """Check before each call of the queue that the term lasts longer than the call may take.

        Raises LeadershipLost if the term is over, Unavailable if too little of it is left, UsageError if renewals never
        leave enough.
        """
        if self.term is None:
            return
        if self.term.assured < seconds:
            raise UsageError(
                f"a call of the bus may take {seconds:g} s, and the lead is certain for {self.term.assured:g} s only",
                hint=f"--renew-deadline must be at least {seconds:g} s longer than --retry-period, as it is by default",
            )
        left = self.term.left()
        if left <= 0:
            raise LeadershipLost(f"term {self.term.number} of {self.term.holder} is over")
        if left < seconds:
            raise Unavailable(
                "the last renewal of the lead is too long ago to begin a call",
                hint="it continues once the lead is renewed",
            )


class Publisher(Protocol):
    async def publish(self, publication: Publication) -> None:
        """Return once every event is durable for every subscription to it.

        Raises Unavailable (including BusFull, NoSubscription): then some may have been published, and the publication
        tells which. Of an event that failed, no later one of its partitionkey was published. Raises LeadershipLost if
        the term ended.
        """
        ...

    def fit(self, event: Event) -> Event:
        """The event as the queue can carry it: the same, or without its body (``truncated``) if it is too large."""
        ...


class TransactionalPublisher(Publisher, Protocol):
    under_way: int
    """How many commits of a checkpoint may be under way at a time, if each is begun after the one it follows. They are
    made in that order, or refused."""

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        """The same batch, ready for a `commit` in that term, so that the commit has less to do.

        Back ends with work to do in advance return a `PreparedBatch`. `commit` takes batches of both kinds.
        """
        ...

    async def commit(self, batch: Batch, *, term: Term) -> None:
        """Make events, inventory and state durable in one atomic step. Repeating a batch that was done is a no-op.

        Raises LeadershipLost for an older term, CommitMismatch if the store is not at ``follows`` and ``after`` (and
        not one further by this very batch), BusFull or NoSubscription if the events are not accepted, Unavailable
        otherwise.
        """
        ...
