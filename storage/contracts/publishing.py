"""Publishing: what the watcher hands to a bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kubecdc.storage.contracts.checkpoints import CheckpointDelta
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.contracts.leadership import Term


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
