"""Publishes events: each commit is one script, with the checkpoint step that belongs to it."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Batch, PreparedBatch, Publication, Term
from kubecdc.storage.contracts.errors import BusFull, CommitMismatch, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis_server import checkpoints
from kubecdc.storage.redis_server.connection import Argument, Call, Connection
from kubecdc.storage.redis_server.registrations import Registrations


class RedisPublisher:
    """`storage.contracts.TransactionalPublisher`."""

    under_way = 2  # so that Redis has the next one when it has done one; one connection keeps their order

    def __init__(
        self, connection: Connection, registrations: Registrations, *, partitions: int, max_pending: int
    ) -> None:
        self._connection = connection
        self._registrations = registrations
        self._partitions = partitions
        self._max_pending = max_pending

    async def publish(self, publication: Publication) -> None:
        if publication.events:
            laid_out = lay_out(publication.events, self._partitions)
            args = (*checkpoints.NO_STEP, self._max_pending, *laid_out)
            await self._check(await self._connection.run("commits/commit", *args))

    def fit(self, event: Event) -> Event:
        return event

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return PreparedBatch(batch.key, batch.events, batch.delta, self._call(batch, term))

    async def commit(self, batch: Batch, *, term: Term) -> None:
        call = batch.form if isinstance(batch, PreparedBatch) else self._call(batch, term)
        answer = await self._connection.run_call(call)
        try:
            checkpoints.check(answer, batch.key, batch.delta, term)
        except CommitMismatch:  # a store that came back older may have lost subscriptions too
            with suppress(Unavailable):
                await self._registrations.restore()
            raise
        await self._check(answer)

    def _call(self, batch: Batch, term: Term) -> Call:
        laid_out = lay_out(batch.events, self._partitions)
        step = checkpoints.step(batch.key, batch.delta, term)
        return self._connection.call("commits/commit", *step, self._max_pending, *laid_out)

    async def _check(self, answer: Any) -> None:
        """Raise NoSubscription or BusFull if that is the answer."""
        if answer[0] == b"NOBODY":
            await self._registrations.restore()  # for the next time, unless they were pruned
            source, _, subject = answer[1].decode().partition("\n")
            raise NoSubscription.to_event(source, subject)
        if answer[0] == b"FULL":
            raise BusFull(answer[1].decode(), int(answer[2]), self._max_pending)


def partition(partitionkey: str, partitions: int) -> int:
    """The partition of an object: the stream that has all of its events."""
    return zlib.crc32(partitionkey.encode()) % partitions


def entry(source: str, subject: str) -> str:
    """What a subscription subscribes to, in the form that the scripts use."""
    return f"{source}\n{subject}"


def lay_out(events: Sequence[Event], partitions: int) -> list[Argument]:
    """Events as `commit.lua` reads them: number of entries and events, each entry with its count, the events."""
    counts: Counter[str] = Counter()
    arguments: list[Argument] = []
    for event in events:
        name, key = entry(event.source, event.subject), event.partitionkey
        counts[name] += 1
        arguments += (partition(key, partitions), key, event.id, name, event.encode())
    return [len(counts), len(events), *(value for pair in counts.items() for value in pair), *arguments]
