"""Publish in one system, keep the checkpoint in another, and lose nothing in between.

Each commit is three steps: remember the objects (`CheckpointStore.intend`), publish, save. A crash after the first
leaves objects that are known only as intended: what is still there is announced once more, what is gone is announced as
gone. Without it, an object that was made and published just before a crash, and deleted while nobody watched, would
never be told to be gone once its history has expired.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.storage.contracts import Batch, CheckpointStore, Publisher, Term
from kubecdc.storage.contracts.event import Event


class SplitPublisher:
    """`storage.contracts.TransactionalPublisher`, as far as two systems can be one: nothing is lost, what was published
    since the last save is published again after a crash (Capabilities: neither atomic_commit nor exactly_once_publish).

    An older leader finds out before it publishes; one that is already publishing finishes that.
    """

    under_way = 1

    def __init__(self, publisher: Publisher, checkpoints: CheckpointStore) -> None:
        self._publisher = publisher
        self._checkpoints = checkpoints

    async def publish(self, events: Sequence[Event]) -> None:
        await self._publisher.publish(events)

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return batch

    async def commit(self, batch: Batch, *, term: Term) -> None:
        """Repeating a batch that was saved is a no-op; of one that was not, the events may be there twice."""
        if batch.events:
            if not await self._checkpoints.intend(batch.key, batch.delta, term=term):
                return
            await self._publisher.publish(batch.events)
        await self._checkpoints.save(batch.key, batch.delta, term=term)
