"""Commits to a queue and a checkpoint store that are separate systems, without losing events.

A commit has three steps: record the objects as intended (`CheckpointStore.intend`), publish, save. After a crash
between the steps, the store knows which objects were intended: those that exist are published again, and for those that
do not, a deletion is published. Without the first step, this case would lose a deletion: an object is created and
published just before a crash, deleted while no watcher runs, and its history has expired.
"""

from __future__ import annotations

import msgspec

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Batch, CheckpointStore, Publication, Publisher, Term
from kubecdc.storage.contracts.event import Event


class SplitPublisher:
    """Implements `storage.contracts.TransactionalPublisher`, except that a commit is not atomic.

    No event is lost. A commit that is repeated goes on where it stopped. After a crash, events that were published
    since the last save are published again (`Capabilities`: neither `atomic_commit` nor `exactly_once_publish`). A
    former leader is refused before it publishes; the calls that it has begun complete.
    """

    under_way = 1

    def __init__(self, publisher: Publisher, checkpoints: CheckpointStore) -> None:
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._unsaved: dict[str, Publication] = {}  # the last one of each checkpoint
        self._number = 0

    async def publish(self, publication: Publication) -> None:
        await self._publisher.publish(publication)

    def fit(self, event: Event) -> Event:
        return self._publisher.fit(event)

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        """The batch with events that the queue can carry."""
        return msgspec.structs.replace(batch, events=[self.fit(event) for event in batch.events])

    async def commit(self, batch: Batch, *, term: Term) -> None:
        """Publish and save. Repeating a saved batch has no effect. Repeating any other publishes what is missing."""
        try:
            if batch.events:
                if not await self._checkpoints.intend(batch.key, batch.delta, term=term):
                    return
                await self._publisher.publish(self._publication(batch, term))
            await self._checkpoints.save(batch.key, batch.delta, term=term)
        except Unavailable:
            raise
        except BaseException:
            self._unsaved.pop(batch.key, None)
            raise
        self._unsaved.pop(batch.key, None)

    def _publication(self, batch: Batch, term: Term) -> Publication:
        """The one that was begun under the token of the step, or a new one."""
        token = batch.delta.token
        found = self._unsaved.get(batch.key)
        if found is None or (found.token, found.term) != (token, term):
            self._number += 1
            found = self._unsaved[batch.key] = Publication(batch.events, token, term, self._number)
        return found
