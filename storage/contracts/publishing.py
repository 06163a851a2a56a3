"""Publishing: what the watcher hands to a bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from kubecdc.storage.contracts.checkpoints import CheckpointDelta
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.contracts.leadership import Term

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Events, and the checkpoint step that keeps them from being published twice."""

    key: str
    events: Sequence[Event]
    delta: CheckpointDelta


@dataclass(frozen=True)
class PreparedBatch(Batch, Generic[T]):
    """A batch for which `TransactionalPublisher.prepare` did part of the work; ``form`` is the back end's own."""

    form: T


class Publisher(Protocol):
    async def publish(self, events: Sequence[Event]) -> None:
        """Return once every event is durable for every subscription to it. May duplicate events on error.

        Raises Unavailable (including BusFull, NoSubscription): then any prefix may have been published.
        """
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
