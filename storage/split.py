"""Commits to a queue and a checkpoint store that are separate systems, without losing events.

A commit has three steps: record the objects as intended (`CheckpointStore.intend`), publish, save. After a crash
between the steps, the store knows which objects were intended: those that exist are published again, and for those that
do not, a deletion is published. Without the first step, this case would lose a deletion: an object is created and
published just before a crash, deleted while no watcher runs, and its history has expired.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.storage.contracts import Batch, CheckpointStore, Publisher, Term
from kubecdc.storage.contracts.event import Event


class SplitPublisher:
    """Implements `storage.contracts.TransactionalPublisher`, except that a commit is not atomic.

    No event is lost. After a crash, events that were published since the last save are published again (`Capabilities`:
    neither `atomic_commit` nor `exactly_once_publish`). A former leader is refused before it publishes; a publication
    that has already begun completes.
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
        """Publish and save. Repeating a saved batch has no effect. Repeating any other may publish its events twice."""
        if batch.events:
            if not await self._checkpoints.intend(batch.key, batch.delta, term=term):
                return
            await self._publisher.publish(batch.events)
        await self._checkpoints.save(batch.key, batch.delta, term=term)
